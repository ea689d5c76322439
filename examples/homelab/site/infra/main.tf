terraform {
  backend "local" {}
}
variable "environment" { type = string }
resource "terraform_data" "zone" {
  input = "${var.environment}.home.example"
}
