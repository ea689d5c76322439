terraform {
  backend "http" {}
}
variable "environment" { type = string }
resource "terraform_data" "name" {
  input = "${var.environment}.example.com"
}
resource "terraform_data" "bucket" {
  input            = "${var.environment}-uploads"
  triggers_replace = ["eu-west-3"]
}
