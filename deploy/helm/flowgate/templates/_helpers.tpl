{{- define "flowgate.name" -}}
{{- if contains "flowgate" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-flowgate" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "flowgate.selector" -}}
app.kubernetes.io/name: flowgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "flowgate.labels" -}}
{{ include "flowgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "flowgate.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "flowgate.registry" -}}
{{- if .Values.registry.url }}{{ .Values.registry.url }}{{ else if .Values.redis.enabled }}redis://{{ include "flowgate.name" . }}-redis:6379{{ else }}{{ fail "registry.url is needed where redis.enabled is false: replicas share a registry" }}{{ end -}}
{{- end }}

{{- /* A setting as TOML. */ -}}
{{- define "flowgate.toml" -}}
{{- if kindIs "string" . }}{{ . | toJson }}{{ else if kindIs "slice" . }}{{ . | toJson }}{{ else if kindIs "float64" . }}{{ . | int64 }}{{ else }}{{ . }}{{ end -}}
{{- end }}
