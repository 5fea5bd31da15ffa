# A flavor and an image for SEV-ES, and a server with both, by Terraform or
# OpenTofu. Flavors and public images are an administrator's.
terraform {
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = ">= 3.0.0"
    }
  }
}

variable "image_file" {
  type        = string
  description = "A disk in the format raw that boots by UEFI"
}

variable "network" {
  type    = string
  default = "private"
}

resource "openstack_compute_flavor_v2" "confidential" {
  name      = "m1.confidential"
  vcpus     = 2
  ram       = 4096
  disk      = 20
  is_public = true
  extra_specs = {
    "hw:mem_encryption"       = "true"
    "hw:mem_encryption_model" = "amd-sev-es"
  }
}

resource "openstack_images_image_v2" "debian" {
  name             = "debian-12"
  local_file_path  = var.image_file
  disk_format      = "raw"
  container_format = "bare"
  visibility       = "public"
  properties = {
    hw_firmware_type = "uefi"
    hw_machine_type  = "q35"
  }
}

resource "openstack_compute_instance_v2" "confidential" {
  name      = "confidential-1"
  flavor_id = openstack_compute_flavor_v2.confidential.id
  image_id  = openstack_images_image_v2.debian.id
  network {
    name = var.network
  }
}
