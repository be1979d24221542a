variable "chart" {
  type        = string
  description = "Folder with a chart that tailrace k8s chart has written, of one job or of several."
  validation {
    condition     = fileexists("${var.chart}/Chart.yaml")
    error_message = "The chart must be a folder with Chart.yaml, as tailrace k8s chart --to writes it."
  }
}

variable "release" {
  type        = string
  description = "Name of Helm's release."
}

variable "namespace" {
  type        = string
  description = "Namespace of the jobs, which the Flink operator watches."
}

variable "create_namespace" {
  type        = bool
  description = "Whether Helm makes the namespace."
  default     = false
}

variable "values" {
  type        = any
  description = "What is another in this place than in the chart's values.yaml: image, parallelism, secret, …"
  default     = {}
}

variable "values_files" {
  type        = list(string)
  description = "Files of such values; what values says is stronger, and a later file than an earlier one."
  default     = []
}

variable "timeout" {
  type        = number
  description = "Seconds that Helm waits for what it applies."
  default     = 300
}
