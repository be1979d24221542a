# Jobs of Tailrace on the Flink Kubernetes operator, from a chart that tailrace k8s chart has written.
#
#   module "flights" {
#     source    = "./conf/terraform"
#     chart     = "${path.root}/chart"
#     release   = "flights"
#     namespace = "ml"
#     values    = { image = "registry.example.org/team/tailrace@sha256:…", parallelism = 4 }
#   }

locals {
  # Helm's provider looks at the chart's version and at values, not at its files: a job file that changed is told by this.
  files  = sort(tolist(fileset(var.chart, "**")))
  digest = sha256(join("\n", [for name in local.files : "${name} ${filesha256("${var.chart}/${name}")}"]))
  global = merge(try(var.values.global, {}), { chart = local.digest })
}

resource "helm_release" "jobs" {
  name             = var.release
  chart            = var.chart
  namespace        = var.namespace
  create_namespace = var.create_namespace
  timeout          = var.timeout
  lint             = true
  max_history      = 10
  values = concat(
    [for name in var.values_files : file(name)],
    [yamlencode(merge(var.values, { global = local.global }))],
  )
}
