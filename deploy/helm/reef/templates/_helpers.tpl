{{/* Names. They are fixed, not made from the release: Reef's Secrets, Leases and webhooks are known by them. */}}
{{- define "reef.name" -}}reef{{- end -}}

{{/* Names of cluster-scoped objects carry the namespace, as istiod's do. */}}
{{- define "reef.clusterName" -}}reef-{{ .Release.Namespace }}{{- end -}}

{{- define "reef.injectorName" -}}reef-sidecar-injector-{{ .Release.Namespace }}{{- end -}}

{{- define "reef.validatorName" -}}reef-validator-{{ .Release.Namespace }}{{- end -}}

{{/* Labels that select the pods; they never change, so the revision is not among them. One Reef a namespace. */}}
{{- define "reef.selectorLabels" -}}
app: reef
{{- end -}}

{{- define "reef.labels" -}}
app: reef
istio.io/rev: {{ .Values.revision | quote }}
app.kubernetes.io/name: reef
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/part-of: reef
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "reef.tag" -}}{{ .Values.tag | default .Values.global.tag | default .Chart.AppVersion }}{{- end -}}

{{/* The image of Reef: `image` alone if it has a slash, else hub, name and tag. */}}
{{- define "reef.image" -}}
{{- if contains "/" .Values.image -}}
{{ .Values.image }}
{{- else -}}
{{ .Values.hub | default .Values.global.hub }}/{{ .Values.image }}:{{ include "reef.tag" . }}
{{- end -}}
{{- end -}}

{{- define "reef.initImage" -}}
{{- $image := .Values.global.proxy_init.image -}}
{{- if contains "/" $image -}}
{{ $image }}
{{- else -}}
{{ .Values.global.hub }}/{{ $image }}:{{ .Values.global.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* All addresses of the family that the Service has first. */}}
{{- define "reef.anyAddress" -}}
{{- if eq (first .Values.ipFamilies | default "IPv4") "IPv6" -}}[::]{{- else -}}0.0.0.0{{- end -}}
{{- end -}}

{{/* Where the ConfigMap `istio` is: our own namespace if we write it, else istiod's. */}}
{{- define "reef.meshNamespace" -}}
{{- if .Values.meshConfig -}}{{ .Release.Namespace }}{{- else -}}{{ .Values.global.istioNamespace }}{{- end -}}
{{- end -}}

{{/* The fewest replicas there can be. */}}
{{- define "reef.minReplicas" -}}
{{- if .Values.autoscaleEnabled -}}{{ .Values.autoscaleMin }}{{- else -}}{{ .Values.replicaCount }}{{- end -}}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "reef.check" -}}
{{- $drain := int (trimSuffix "s" .Values.drainDuration) -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add $drain 5 | int) -}}
{{- fail "terminationGracePeriodSeconds must be at least five seconds more than drainDuration" -}}
{{- end -}}
{{- if and .Values.autoscaleEnabled (gt (int .Values.autoscaleMin) (int .Values.autoscaleMax)) -}}
{{- fail "autoscaleMin is greater than autoscaleMax" -}}
{{- end -}}
{{- end -}}

{{/* What both webhooks of a kind have in common. */}}
{{- define "reef.injector" }}
    # Reef writes the `caBundle` when it has its certificate.
    clientConfig:
      service:
        name: {{ include "reef.name" . }}
        namespace: {{ .Release.Namespace }}
        path: /inject
        port: 443
    sideEffects: None
    admissionReviewVersions: [v1]
    failurePolicy: {{ .Values.sidecarInjectorWebhook.failurePolicy }}
    reinvocationPolicy: {{ .Values.sidecarInjectorWebhook.reinvocationPolicy }}
    timeoutSeconds: {{ .Values.sidecarInjectorWebhook.timeoutSeconds }}
    matchPolicy: Equivalent
    rules:
      - operations: [CREATE]
        apiGroups: [""]
        apiVersions: [v1]
        resources: [pods]
        scope: Namespaced
{{- end }}

{{/* What both webhooks of a kind have in common. */}}
{{- define "reef.validator" }}
    # Reef writes the `caBundle` when it has its certificate.
    clientConfig:
      service:
        name: {{ include "reef.name" . }}
        namespace: {{ .Release.Namespace }}
        path: /validate
        port: 443
    sideEffects: None
    admissionReviewVersions: [v1]
    failurePolicy: {{ .Values.validation.failurePolicy }}
    timeoutSeconds: {{ .Values.validation.timeoutSeconds }}
    matchPolicy: Exact
    rules:
      - operations: [CREATE, UPDATE]
        apiGroups: [networking.istio.io, security.istio.io, telemetry.istio.io]
        apiVersions: ["*"]
        resources: ["*"]
        scope: Namespaced
{{- end }}
