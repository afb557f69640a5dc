{{/* A value in TOML. Numbers come as floating point out of YAML, and as integers out of --set; JSON's strings are TOML's. */}}
{{- define "postroad.toml" -}}
{{- if kindIs "string" . }}{{ toJson . }}
{{- else if kindIs "bool" . }}{{ . }}
{{- else if kindIs "float64" . }}{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else if kindIs "slice" . }}[{{ range $i, $item := . }}{{ if $i }}, {{ end }}{{ include "postroad.toml" $item }}{{ end }}]
{{- else if kindIs "map" . }}{ {{- range $i, $key := keys . | sortAlpha }}{{ if $i }},{{ end }} {{ $key }} = {{ include "postroad.toml" (get $ $key) }}{{ end }} }
{{- else }}{{ . }}
{{- end }}
{{- end }}

{{- define "postroad.tomlKeys" -}}
{{- range $key := keys . | sortAlpha }}
{{ $key }} = {{ include "postroad.toml" (get $ $key) }}
{{- end }}
{{- end }}

{{/* Sections that the chart writes, and their keys that only it may set. */}}
{{- define "postroad.owned" -}}
node: [name, hostname, data_dir]
service: [domain, spf_name, postmaster, postmaster_url, outbound_prefixes, mx]
smtp: [listen, certificate_file, private_key_file, trusted_proxies]
dkim: [selector, private_key_file]
srs: [secret_file]
delivery: [source]
http: [listen]
public: [listen]
admin: [listen, token_file]
cluster: [listen, certificate_file, private_key_file, ca_file, peers]
{{- end }}

{{/* The node file of one host: (list $ INDEX) */}}
{{- define "postroad.nodeFile" -}}
{{- $root := index . 0 }}
{{- $index := index . 1 }}
{{- $values := $root.Values }}
{{- $config := $values.config }}
{{- $host := index $values.mx.hosts $index }}
{{- $name := include "postroad.nodeName" $host }}
{{- $port := include "postroad.smtpPort" $root }}
{{- $wildcard := include "postroad.wildcard" $root -}}
[node]
name = {{ toJson $name }}
hostname = {{ toJson $host.hostname }}
# A folder below the mount, whose own folder can have what the file system puts there
data_dir = "/var/lib/postroad/data"
{{- include "postroad.tomlKeys" (default dict $config.node) }}

[service]
domain = {{ toJson $values.service.domain }}
postmaster = {{ toJson $values.service.postmaster }}
{{- with $values.service.spfName }}
spf_name = {{ toJson . }}
{{- end }}
{{- with $values.service.postmasterUrl }}
postmaster_url = {{ toJson . }}
{{- end }}
{{- with $values.service.outboundPrefixes }}
outbound_prefixes = {{ include "postroad.toml" . }}
{{- end }}
mx = [
{{- range $values.mx.hosts }}
  { hostname = {{ toJson .hostname }}, preference = {{ int (dig "preference" 10 .) }} },
{{- end }}
]
{{- include "postroad.tomlKeys" (default dict $config.service) }}

[smtp]
listen = ["0.0.0.0:{{ $port }}"{{ if $values.ipv6 }}, "[::]:{{ $port }}"{{ end }}]
{{- if include "postroad.tlsSecret" $root }}
certificate_file = "/etc/postroad-keys/tls/tls.crt"
private_key_file = "/etc/postroad-keys/tls/tls.key"
{{- end }}
{{- if $values.mx.proxyProtocol.enabled }}
trusted_proxies = {{ include "postroad.toml" $values.mx.proxyProtocol.trustedCidrs }}
{{- end }}
{{- include "postroad.tomlKeys" (default dict $config.smtp) }}

[dkim]
selector = {{ toJson $values.dkim.selector }}
private_key_file = "/etc/postroad-keys/dkim/dkim.pem"
{{- include "postroad.tomlKeys" (default dict $config.dkim) }}

[srs]
secret_file = "/etc/postroad-keys/srs/srs.secret"
{{- include "postroad.tomlKeys" (default dict $config.srs) }}

{{- if or $config.delivery $host.sources }}

[delivery]
{{- include "postroad.tomlKeys" (default dict $config.delivery) }}
{{- range $host.sources }}

[[delivery.source]]
address = {{ toJson .address }}
hostname = {{ toJson .hostname }}
{{- end }}
{{- end }}

[http]
listen = "{{ include "postroad.httpAddress" $root }}:8080"
{{- include "postroad.tomlKeys" (default dict $config.http) }}
{{- if $values.public.enabled }}

[public]
listen = "{{ $wildcard }}:8081"
{{- include "postroad.tomlKeys" (default dict $config.public) }}
{{- end }}

# For `kubectl exec`: who may do that is Kubernetes' to say
[admin]
listen = "127.0.0.1:50051"
{{- if include "postroad.adminSecret" $root }}
token_file = "/etc/postroad-keys/admin/tokens"
{{- end }}
{{- include "postroad.tomlKeys" (default dict $config.admin) }}
{{- if include "postroad.isCluster" $root }}

[cluster]
listen = "{{ $wildcard }}:50052"
{{- if $values.cluster.certManager.enabled }}
certificate_file = "/etc/postroad-keys/cluster/{{ $name }}/tls.crt"
private_key_file = "/etc/postroad-keys/cluster/{{ $name }}/tls.key"
ca_file = "/etc/postroad-keys/cluster/{{ $name }}/ca.crt"
{{- else }}
certificate_file = "/etc/postroad-keys/cluster/{{ $name }}.pem"
private_key_file = "/etc/postroad-keys/cluster/{{ $name }}.key"
ca_file = "/etc/postroad-keys/cluster/ca.pem"
{{- end }}
peers = [
{{- range $i, $peer := $values.mx.hosts }}
  { name = {{ toJson (include "postroad.nodeName" $peer) }}, address = "{{ include "postroad.podDomain" (list $root $i) }}:50052" },
{{- end }}
]
{{- include "postroad.tomlKeys" (default dict $config.cluster) }}
{{- end }}
{{- $own := include "postroad.owned" $root | fromYaml }}
{{- range $section := keys $config | sortAlpha }}
{{- if not (hasKey $own $section) }}
{{- $content := get $config $section }}
{{- if kindIs "slice" $content }}
{{- range $content }}

[[{{ $section }}]]
{{- include "postroad.tomlKeys" . }}
{{- end }}
{{- else }}

[{{ $section }}]
{{- include "postroad.tomlKeys" $content }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* All of them, by the names of their files */}}
{{- define "postroad.nodeFiles" -}}
{{- range $i, $host := .Values.mx.hosts }}
{{ include "postroad.fullname" $ }}-{{ $i }}.toml: |
  {{- include "postroad.nodeFile" (list $ $i) | nindent 2 }}
{{- end }}
{{- end }}
