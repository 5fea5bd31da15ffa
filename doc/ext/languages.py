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

"""Tell Sphinx what a literal block is written in, where the page does not.

Commands are told from what they print as tools/doc_commands.py does.
"""
import os
import re
import sys

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import code

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', '..', 'tools'))
import doc_commands

# What the first line of a file looks like, and its language
FILES = ((r'\[[\w.-]+\]$', 'ini'), (r'\w+:( >-)?$', 'yaml'))
# What is to be copied, as it is typed or stands in a file
COPIED = ('bash', 'console', *(language for _, language in FILES))


def find_language(block: nodes.literal_block) -> str:
    """Return the language of a literal block: 'text' for what is printed."""
    if doc_commands.has_commands(block):
        return 'console' if doc_commands.is_prompted(block) else 'bash'
    first = block.astext().partition('\n')[0]
    return next((language for pattern, language in FILES
                 if re.match(pattern, first)), 'text')


class Languages(SphinxTransform):
    """Set the language of the literal blocks of a page."""

    # Sphinx sets its default after this.
    default_priority = code.HighlightLanguageTransform.default_priority - 1

    def apply(self, **kwargs) -> None:
        for block in self.document.findall(nodes.literal_block):
            block.attributes.setdefault('language', find_language(block))


def setup(app):
    """Tell Sphinx of the transform."""
    app.add_transform(Languages)
    return {'parallel_read_safe': True}
