terraform {
  backend "s3" {
    bucket       = "example-state"
    key          = "vps"
    region       = "eu-west-3"
    use_lockfile = true
  }
}
variable "environment" { type = string }
resource "terraform_data" "name" {
  input = "${var.environment}.example.com"
}
