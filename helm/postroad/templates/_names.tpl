{{- define "postroad.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 45 | trimSuffix "-" }}
{{- end }}

{{/* 45 octets leave room for what is appended: -headless, -cluster-ca, and the hash in the label of a pod's revision. */}}
{{- define "postroad.fullname" -}}
{{- $name := include "postroad.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Immutable in the StatefulSet: never add to it. */}}
{{- define "postroad.selectorLabels" -}}
app.kubernetes.io/name: {{ include "postroad.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "postroad.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "postroad.labels" -}}
{{ include "postroad.selectorLabels" . }}
{{ include "postroad.commonLabels" . }}
{{- end }}

{{- define "postroad.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* "true" from this version of Kubernetes on: (list $ "1.23") */}}
{{- define "postroad.from" -}}
{{- if semverCompare (printf ">=%s.0-0" (index . 1)) (index . 0).Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{/* The node.name of a host */}}
{{- define "postroad.nodeName" -}}
{{- default (.hostname | splitList "." | first | lower) .name }}
{{- end }}

{{/* 25 itself only in the machine's own network: elsewhere a Service or a hostPort leads to a port that needs no capability. */}}
{{- define "postroad.smtpPort" -}}
{{- ternary 25 2525 (eq .Values.mx.exposure "hostNetwork") }}
{{- end }}

{{/* A listener takes both families at [::]; SMTP, which tells them apart, is given each. */}}
{{- define "postroad.wildcard" -}}
{{- ternary "[::]" "0.0.0.0" .Values.ipv6 }}
{{- end }}

{{/* The name of a pod in DNS: (list $ INDEX) */}}
{{- define "postroad.podDomain" -}}
{{- $root := index . 0 }}
{{- $name := include "postroad.fullname" $root }}
{{- printf "%s-%d.%s-headless.%s.svc.%s" $name (int (index . 1)) $name $root.Release.Namespace $root.Values.clusterDomain }}
{{- end }}

{{/* From 1.23 on dual-stack is there everywhere. */}}
{{- define "postroad.ipFamilies" -}}
{{- if include "postroad.from" (list . "1.23") -}}
ipFamilyPolicy: {{ .Values.mx.service.ipFamilyPolicy }}
{{- end }}
{{- end }}

{{- define "postroad.isCluster" -}}
{{- if gt (len .Values.mx.hosts) 1 }}true{{ end }}
{{- end }}

{{- define "postroad.dkimSecret" -}}
{{- default (printf "%s-dkim" (include "postroad.fullname" .)) .Values.dkim.existingSecret }}
{{- end }}

{{- define "postroad.srsSecret" -}}
{{- default (printf "%s-srs" (include "postroad.fullname" .)) .Values.srs.existingSecret }}
{{- end }}

{{- define "postroad.clusterSecret" -}}
{{- default (printf "%s-cluster" (include "postroad.fullname" .)) .Values.cluster.existingSecret }}
{{- end }}

{{/*
Empty where everybody who gets to the admin port may use it, as in a pod of its own. In the machine's network others get there.
*/}}
{{- define "postroad.adminSecret" -}}
{{- if .Values.admin.existingSecret }}{{ .Values.admin.existingSecret }}
{{- else if eq .Values.mx.exposure "hostNetwork" }}{{ include "postroad.fullname" . }}-admin
{{- end }}
{{- end }}

{{/* The Secrets that pods mount, by their folder in /etc/postroad-keys */}}
{{- define "postroad.mountedSecrets" -}}
dkim: {{ include "postroad.dkimSecret" . }}
srs: {{ include "postroad.srsSecret" . }}
{{- with include "postroad.adminSecret" . }}
admin: {{ . }}
{{- end }}
{{- with include "postroad.tlsSecret" . }}
tls: {{ . }}
{{- end }}
{{- if include "postroad.isCluster" . }}
{{- if .Values.cluster.certManager.enabled }}
{{- range $i, $host := .Values.mx.hosts }}
cluster/{{ include "postroad.nodeName" $host }}: {{ include "postroad.fullname" $ }}-cluster-{{ $i }}
{{- end }}
{{- else }}
cluster: {{ include "postroad.clusterSecret" . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where metrics and health are. In the machine's network they are for the machine alone, but where Prometheus is to come. */}}
{{- define "postroad.httpAddress" -}}
{{- if and (eq .Values.mx.exposure "hostNetwork") (not .Values.monitoring.serviceMonitor.enabled) -}}
127.0.0.1
{{- else -}}
{{ include "postroad.wildcard" . }}
{{- end }}
{{- end }}

{{/* What a probe asks: (list $ PATH) */}}
{{- define "postroad.probe" -}}
path: {{ index . 1 }}
port: http
{{- if eq (include "postroad.httpAddress" (index . 0)) "127.0.0.1" }}
host: 127.0.0.1
{{- end }}
{{- end }}

{{/* Empty where STARTTLS is not offered */}}
{{- define "postroad.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "postroad.fullname" . }}-tls{{ else }}{{ .Values.tls.existingSecret }}{{ end }}
{{- end }}
