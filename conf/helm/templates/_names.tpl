{{- define "tailrace.own" -}}
app.kubernetes.io/instance: {{ .Values.name | quote }}
app.kubernetes.io/name: tailrace
{{- end }}

{{- define "tailrace.labels" -}}
{{ include "tailrace.own" . }}
app.kubernetes.io/managed-by: tailrace
{{- end }}

{{- define "tailrace.metadata" -}}
name: {{ .Values.name | quote }}
{{ include "tailrace.around" . }}
{{- end }}

{{- define "tailrace.around" -}}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "tailrace.labels" . | nindent 2 }}
annotations:
  tailrace/job: {{ .Values.job | quote }}
{{- end }}

{{- define "tailrace.image" -}}
{{ ((.Values.global).image) | default .Values.image }}
{{- end }}

{{- define "tailrace.secret" -}}
{{ .Values.secret | default (printf "%s-env" .Values.name) }}
{{- end }}

{{- /* Named by what it holds and never changed: a changed file is an upgrade. */}}
{{- define "tailrace.files" -}}
{{- $sums := "" }}
{{- range $path, $_ := .Files.Glob "files/*" }}
{{- $sums = printf "%s%s %s\n" $sums (sha256sum ($.Files.Get $path)) (base $path) }}
{{- end }}
{{- printf "%s-%s" .Values.name (sha256sum $sums | trunc 10) }}
{{- end }}
