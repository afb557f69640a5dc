{{/* The data of a Secret that the cluster has, as JSON; nothing where templates are rendered without a cluster: (list $ NAME) */}}
{{- define "postroad.found" -}}
{{- $secret := lookup "v1" "Secret" (index . 0).Release.Namespace (index . 1) | default dict }}
{{- $secret.data | default dict | toJson }}
{{- end }}

{{/*
The data of the DKIM Secret: what is in the cluster, or else a new key, RSA-2048 (RFC 8301 §3.2), which is the length of a
certificate's key here; genPrivateKey's has 4096 bits, whose record is too long for many a DNS provider. The record is taken
out of the certificate: the SubjectPublicKeyInfo of an RSA-2048 key (RFC 5280 §4.1.2.7) has 294 octets and always the same first
ones. It is kept among the values, so that the Secret and NOTES.txt have the same key.
*/}}
{{- define "postroad.dkimData" -}}
{{- if not (hasKey .Values "madeDkimData") }}
{{- $data := include "postroad.found" (list . (include "postroad.dkimSecret" .)) | fromJson }}
{{- if and (not $data) (not .Values.dkim.existingSecret) }}
{{- $made := genSelfSignedCert "postroad" nil nil 1 }}
{{- $der := regexReplaceAll "-----[A-Z ]+-----|\\s" $made.Cert "" | b64dec }}
{{- $before := splitList "30820122300d06092a864886f70d01010105000382010f00" (printf "%x" $der) | first }}
{{- $start := div (len $before) 2 | int }}
{{- $public := substr $start (add $start 294 | int) $der | b64enc }}
{{- $data = dict "dkim.pem" (b64enc $made.Key) "record" (printf "v=DKIM1; h=sha256; k=rsa; p=%s" $public | b64enc) }}
{{- end }}
{{- $_ := set .Values "madeDkimData" $data }}
{{- end }}
{{- toJson .Values.madeDkimData }}
{{- end }}

{{- define "postroad.srsData" -}}
{{- $data := include "postroad.found" (list . (include "postroad.srsSecret" .)) | fromJson }}
{{- $data | default (dict "srs.secret" (printf "%s\n" (randBytes 24) | b64enc)) | toJson }}
{{- end }}

{{- define "postroad.adminData" -}}
{{- $data := include "postroad.found" (list . (include "postroad.adminSecret" .)) | fromJson }}
{{- $token := randBytes 24 }}
{{- $made := dict "token" (printf "%s\n" $token | b64enc) "tokens" (printf "%s admin kubectl\n" $token | b64enc) }}
{{- $data | default $made | toJson }}
{{- end }}

{{/*
The data of two Secrets: `nodes`, with a certificate for each node, and `authority`, with the key that signed them: a host that
is added later gets one, and the others keep theirs. All hold ten years, since nobody knows when the next upgrade comes.
*/}}
{{- define "postroad.clusterData" -}}
{{- $name := include "postroad.clusterSecret" . }}
{{- $nodes := include "postroad.found" (list . $name) | fromJson }}
{{- $authority := include "postroad.found" (list . (printf "%s-ca" $name)) | fromJson }}
{{- $missing := list }}
{{- range .Values.mx.hosts }}
{{- $node := include "postroad.nodeName" . }}
{{- if not (and (hasKey $nodes (printf "%s.pem" $node)) (hasKey $nodes (printf "%s.key" $node))) }}
{{- $missing = append $missing $node }}
{{- end }}
{{- end }}
{{- if $missing }}
{{- $ca := dict }}
{{- if $authority }}
{{- $ca = buildCustomCert (index $authority "ca.pem") (index $authority "ca.key") }}
{{- else if $nodes }}
{{- fail (printf "the Secret %s-ca is gone, with the authority that %s needs a certificate of: put it back, or remove the Secret %s too, and all nodes get new ones" $name (join ", " $missing) $name) }}
{{- else }}
{{- $ca = genCAWithKey (printf "Postroad cluster %s" $name) 3650 (genPrivateKey "ecdsa") }}
{{- $authority = dict "ca.pem" (b64enc $ca.Cert) "ca.key" (b64enc $ca.Key) }}
{{- $_ := set $nodes "ca.pem" (b64enc $ca.Cert) }}
{{- end }}
{{- range $node := $missing }}
{{- $made := genSignedCertWithKey $node nil (list $node) 3650 $ca (genPrivateKey "ecdsa") }}
{{- $_ := set $nodes (printf "%s.pem" $node) (b64enc $made.Cert) }}
{{- $_ := set $nodes (printf "%s.key" $node) (b64enc $made.Key) }}
{{- end }}
{{- end }}
{{- dict "nodes" $nodes "authority" $authority | toJson }}
{{- end }}

{{/* A Secret that is made once and stays: (list $ NAME DATA) */}}
{{- define "postroad.keptSecret" -}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ index . 1 }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels:
    {{- include "postroad.labels" (index . 0) | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
data:
  {{- toYaml (index . 2) | nindent 2 }}
{{ end }}
