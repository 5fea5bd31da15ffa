#!/bin/sh
# A flavor and an image for SEV-ES, and a server with both, by openstackclient:
#   openstackclient.sh FILE NETWORK
# FILE is a disk in the format raw that boots by UEFI. The first two commands
# are an administrator's.
set -e
openstack flavor create --vcpus 2 --ram 4096 --disk 20 \
    --property hw:mem_encryption=true \
    --property hw:mem_encryption_model=amd-sev-es m1.confidential
openstack image create --public --file "$1" \
    --disk-format raw --container-format bare \
    --property hw_firmware_type=uefi \
    --property hw_machine_type=q35 debian-12
openstack server create --flavor m1.confidential --image debian-12 \
    --network "$2" --wait confidential-1
