output "release" {
  description = "Name of Helm's release."
  value       = helm_release.jobs.name
}

output "namespace" {
  description = "Where the jobs are."
  value       = helm_release.jobs.namespace
}

output "digest" {
  description = "SHA-256 of the chart's files: another one is an upgrade."
  value       = local.digest
}
