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

"""Refuse a row of a table that was meant to go on with the one before.

In reStructuredText's simple tables each line whose first column has text is a
row of its own. Where that text needs two lines, it is to be a list-table.
"""
from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

LOG = logging.getLogger(__name__)
# What a list-table is that says how wide its columns are
WIDTHS = {'colwidths-auto', 'colwidths-given'}


def is_rest(row: nodes.row) -> bool:
    """Tell whether a row looks like the end of another."""
    first, *_, last = (entry.astext() for entry in row)
    return bool(first) and (not last or first.startswith('(') or
                            first.endswith(',') or
                            first.count('(') != first.count(')'))


class Tables(SphinxTransform):
    """Look at the tables of a page."""

    default_priority = 800

    def apply(self, **kwargs) -> None:
        for table in self.document.findall(nodes.table):
            if WIDTHS.intersection(table['classes']):
                continue
            for row in filter(is_rest, table[0][-1]):
                LOG.warning('is %r a row, or the rest of the one before? A '
                            'first column of several lines needs a '
                            'list-table', row[0].astext(), location=row)


def setup(app):
    """Tell Sphinx of the transform."""
    app.add_transform(Tables)
    return {'parallel_read_safe': True}
