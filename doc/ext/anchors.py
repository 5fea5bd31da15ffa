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

"""Give each entry of a list of terms an anchor, and a link that shows it.

It is the label before the entry, or else made of the words of its term.
"""
import itertools

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

LINK = ('<a class="headerlink" href="#%s" title="Link to this entry">'
        '&#182;</a>')


class Anchors(SphinxPostTransform):
    """Set the anchors of a page."""

    default_priority = 200
    formats = ('html',)

    def run(self, **kwargs) -> None:
        for entries in self.document.findall(nodes.definition_list):
            # The labels stand before the first, the last of them first.
            labels, entries['ids'] = entries['ids'][::-1], []
            for entry in entries:
                term = entry[0]
                term['ids'] += labels or [self._make(term)]
                term += nodes.raw('', LINK % term['ids'][0], format='html')
                labels = []

    def _make(self, term: nodes.term) -> str:
        """Return an anchor that the page does not have, of its words."""
        words = nodes.make_id(term.astext())
        section = term
        while not isinstance(section, nodes.section):
            section = section.parent
        # NOTE: the same message may stand where it has another meaning.
        free = next(anchor for anchor in itertools.chain(
            [words, '%s-%s' % (section['ids'][0], words)],
            map(('%s-%%d' % words).__mod__, itertools.count(2)))
            if anchor.strip('-') and anchor not in self.document.ids)
        self.document.ids[free] = term
        return free


def setup(app):
    """Tell Sphinx of the transform."""
    app.add_post_transform(Anchors)
    return {'parallel_read_safe': True}
