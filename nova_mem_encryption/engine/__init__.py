# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Lay the tree nova/ over the installed Nova, whole or not at all.

A file of the tree, say nova/virt/libvirt/host.py, is an ordinary module,
nova_mem_encryption.nova.virt.libvirt.host. It is imported right after Nova's
module of that path has executed, as are all files of a folder of that path,
nova/virt/libvirt/host/, and extends it by the verbs of overlay.

finder        what follows each module of Nova
gate          whether the series fits this Nova, before any of it runs
fingerprints  the table of what is known; scan compares text with it fast,
              source by parsing
release       which Nova this is
verbs         add, wrap, within; what they did is in the ledger
tree          the files of the series; declared reads what they are about
patched       whether a Nova carries the series as patches; aliases has the
              commands import the tree of such a Nova
packages      a Nova that is not installed
state         what became of it all, in this process

What is imported before Nova's own modules takes no locks, as eventlet wants
to patch them first, and is little, as every process pays for it.
"""
