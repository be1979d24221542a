{{- define "tailrace.job" -}}
entryClass: org.apache.flink.client.python.PythonDriver
parallelism: {{ int .Values.parallelism }}
upgradeMode: savepoint
allowNonRestoredState: false
state: running
{{- end }}

{{- define "tailrace.options" -}}
{{- $place := printf "%s/%s" (.Values.bucket | trimSuffix "/") .Values.name -}}
taskmanager.numberOfTaskSlots: "1"
high-availability.type: kubernetes
high-availability.storageDir: {{ printf "%s/ha" $place | quote }}
execution.checkpointing.dir: {{ printf "%s/checkpoints" $place | quote }}
execution.checkpointing.savepoint-dir: {{ printf "%s/savepoints" $place | quote }}
execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
restart-strategy.type: exponential-delay
restart-strategy.exponential-delay.max-backoff: 2 min
classloader.resolve-order: parent-first
python.client.executable: /opt/venv/bin/python
python.executable: /opt/venv/bin/python
metrics.reporter.prom.factory.class: org.apache.flink.metrics.prometheus.PrometheusReporterFactory
metrics.reporter.prom.port: "9249"
metrics.reporter.prom.filterLabelValueCharacters: "false"
taskmanager.memory.managed.size: {{ printf "%dm" (int .Values.memory.python) }}
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 256m
taskmanager.memory.jvm-overhead.max: 256m
{{- with .Values.otlp }}
metrics.reporter.otel.factory.class: org.apache.flink.metrics.otel.OpenTelemetryMetricReporterFactory
metrics.reporter.otel.exporter.protocol: HTTP
metrics.reporter.otel.exporter.endpoint: {{ . | quote }}
metrics.reporter.otel.exporter.compression: gzip
metrics.reporter.otel.service.name: tailrace
metrics.reporter.otel.interval: 10 s
{{- end }}
{{- if .Values.autoscale }}
job.autoscaler.enabled: "true"
job.autoscaler.memory.tuning.enabled: "false" # it would take Python's memory for unused
pipeline.max-parallelism: "720"
{{- end }}
{{- end }}

{{- define "tailrace.spec" -}}
image: {{ include "tailrace.image" . | quote }}
imagePullPolicy: IfNotPresent
flinkVersion: {{ .Values.flinkVersion | quote }}
mode: native
serviceAccount: {{ .Values.name | quote }}
flinkConfiguration:
  {{- include "tailrace.options" . | nindent 2 }}
podTemplate:
  apiVersion: v1
  kind: Pod
  metadata:
    name: pod-template
    labels:
      {{- include "tailrace.labels" . | nindent 6 }}
  spec:
    securityContext:
      runAsNonRoot: true
      runAsUser: 9999
      runAsGroup: 9999
      fsGroup: 9999
      seccompProfile: {type: RuntimeDefault}
    containers:
      - name: flink-main-container
        env:
          - {name: HOME, value: /tmp}
          - {name: MALLOC_ARENA_MAX, value: "2"}
          {{- range .Values.env }}
          - name: {{ .name | quote }}
            value: {{ .value | quote }}
          {{- end }}
          {{- range .Values.variables }}
          - name: {{ .name | quote }}
            valueFrom:
              secretKeyRef:
                name: {{ include "tailrace.secret" $ | quote }}
                key: {{ .name | quote }}
                optional: {{ .optional }}
          {{- end }}
        ports:
          - {name: metrics, containerPort: 9249}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts:
          - {name: job, mountPath: /opt/tailrace/job, readOnly: true}
          - {name: tmp, mountPath: /tmp}
          - {name: log, mountPath: /opt/flink/log}
    volumes:
      - name: job
        configMap:
          name: {{ include "tailrace.files" . | quote }}
      - {name: tmp, emptyDir: {}}
      - {name: log, emptyDir: {}}
jobManager:
  replicas: 1
  resource: {cpu: 1.0, memory: 1600m}
taskManager:
  resource:
    cpu: {{ .Values.cpu }}
    memory: {{ printf "%dm" (int .Values.memory.total) }}
job:
  jarURI: local:///opt/tailrace/flink-python.jar
  args: [-pyclientexec, /opt/venv/bin/python, -py, /opt/tailrace/main.py, /opt/tailrace/job/job.yaml{{ if eq .Values.mode "blue_green" }}, --hand-over{{ end }}]
  {{- include "tailrace.job" . | nindent 2 }}
{{- end }}
