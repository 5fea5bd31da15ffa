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

"""Look for dead links in pages: a file or an anchor that is not there.

    tools/pages/links.py FOLDER    of HTML

Other sites are not asked. But what a page loads must be in the folder, or it
cannot be read without a network. Exit status: 0 all are well, 1 not all.
"""
import html.parser
import os
import sys
import typing as ty
from urllib import parse

# What a page loads, by element; all else only leads somewhere
LOADED = {'img': 'src', 'script': 'src', 'source': 'src', 'iframe': 'src',
          'link': 'href'}
LINKS = {**LOADED, 'a': 'href', 'area': 'href'}
# What <link> only tells of, and nothing loads
TOLD = {'author', 'canonical', 'index', 'next', 'prev', 'search', 'up'}


class Link(ty.NamedTuple):
    """A link, as the page has it."""

    line: int
    target: str
    loaded: bool


class Page(html.parser.HTMLParser):
    """The anchors and links of a page.

    :param path: of its file
    :raises OSError, UnicodeDecodeError: if it cannot be read
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.anchors: ty.Set[str] = set()
        self.links: ty.List[Link] = []
        with open(path, encoding='utf-8') as f:
            self.feed(f.read())
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get('id'):
            self.anchors.add(found['id'])
        if tag == 'a' and found.get('name'):
            self.anchors.add(found['name'])
        target = found.get(LINKS.get(tag, ''))
        if target is not None:
            rel = set((found.get('rel') or '').split())
            self.links.append(Link(self.getpos()[0], target,
                                   tag in LOADED and not rel & TOLD))


def find_pages(folder: str) -> ty.List[str]:
    """Return the paths of the pages in a folder."""
    return sorted(os.path.join(path, name)
                  for path, _, names in os.walk(folder)
                  for name in names if name.endswith('.html'))


def check(folder: str) -> ty.Tuple[int, ty.List[str]]:
    """Look at the links of all pages in a folder.

    :returns: how many links there are, and what is wrong: page, line, reason
    """
    pages = {os.path.realpath(path): Page(path) for path in find_pages(folder)}
    count, wrong = 0, []
    for path, page in pages.items():
        for link in page.links:
            count += 1
            reason = _find_fault(path, link, pages)
            if reason:
                wrong.append('%s:%d: %s: %s' % (
                    os.path.relpath(path, os.path.realpath(folder)),
                    link.line, link.target, reason))
    return count, wrong


def _find_fault(path: str, link: Link, pages: ty.Mapping[str, Page]
                ) -> ty.Optional[str]:
    """Return why a link of a page is dead, None if it is not."""
    parts = parse.urlsplit(link.target)
    if parts.scheme == 'data' or (parts.scheme or parts.netloc) and (
            not link.loaded):
        return None
    if parts.scheme or parts.netloc:
        return 'the page needs the network for it'
    target = os.path.realpath(os.path.join(
        os.path.dirname(path), parse.unquote(parts.path))
        if parts.path else path)
    if not os.path.isfile(target):
        return 'there is no such file'
    anchor = parse.unquote(parts.fragment)
    # NOTE: a browser goes to the top of the page for an empty one.
    if anchor and target in pages and anchor not in pages[target].anchors:
        return 'there is no such anchor'
    return None


def main(folder: str) -> int:
    """Check a folder; return the exit status."""
    count, wrong = check(folder)
    print('\n'.join(wrong), end='\n' if wrong else '')
    if not count:
        sys.exit('%s: there are no links, so no pages were built there'
                 % folder)
    print('%d links, %d dead' % (count, len(wrong)))
    return 1 if wrong else 0


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
