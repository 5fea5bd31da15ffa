// Licensed under the Apache License, Version 2.0 (the "License"); you may
// not use this file except in compliance with the License. You may obtain
// a copy of the License at
//
//      http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
// WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
// License for the specific language governing permissions and limitations
// under the License.

// Return the faults of the page that is shown, as [kind, text].

const WHAT = 'pre, table, svg[role=img], main img, article img';
const SLACK = 1;  // pixels, for widths that are no whole numbers
const faults = [];
const window_width = document.documentElement.clientWidth;

function tell(kind, element, why) {
  const words = element.textContent.trim().replace(/\s+/g, ' ').slice(0, 60);
  faults.push([kind, `<${element.localName}> ${why}: ${words}`]);
}

// The box of all that an element has in it, be it shown or not
function extent(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const box = element.getBoundingClientRect();
  const inner = element.localName === 'svg' || element.localName === 'img' ?
      box : range.getBoundingClientRect();
  return {left: Math.min(box.left, inner.left),
          right: Math.max(box.right, inner.right),
          top: Math.min(box.top, inner.top),
          bottom: Math.max(box.bottom, inner.bottom)};
}

// Why a part of a box cannot be come by; null if all of it can
function find_cut(element) {
  let box = extent(element);
  for (let node = element; node && node !== document.body;
       node = node.parentElement) {
    const style = getComputedStyle(node);
    const clip = node.getBoundingClientRect();
    for (const [axis, low, high] of [['X', 'left', 'right'],
                                     ['Y', 'top', 'bottom']]) {
      const overflow = style['overflow' + axis];
      if (overflow === 'visible') continue;
      if (overflow === 'auto' || overflow === 'scroll') {
        // What lies before its begin is not reached by scrolling.
        if (box[low] + node['scroll' + (axis === 'X' ? 'Left' : 'Top')] <
            clip[low] - SLACK) return `begins ${low} of <${node.localName}>`;
        box[low] = clip[low];
        box[high] = clip[high];
      } else if (box[high] > clip[high] + SLACK ||
                 box[low] < clip[low] - SLACK) {
        return `is cut off by <${node.localName} class="${node.className}">`;
      }
    }
  }
  if (box.left + window.scrollX < -SLACK) return 'begins left of the page';
  if (box.right + window.scrollX > window_width + SLACK)
    return 'is wider than the page';
  return null;
}

// What lies on an element, at one of some points; null if nothing
function find_cover(element) {
  element.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = element.getBoundingClientRect();
  const low = Math.max(box.top, 0) + 3;
  const high = Math.min(box.bottom, window.innerHeight) - 3;
  const left = Math.max(box.left, 0) + 3;
  const right = Math.min(box.right, window_width) - 3;
  for (const x of [left, (left + right) / 2, right])
    for (const y of high - low > 200 ? [(low + high) / 2] :
         [low, (low + high) / 2, high]) {
      const top = document.elementFromPoint(x, y);
      // Its own scrolling box, or what is in it, covers nothing.
      if (top && !element.contains(top) && !top.contains(element))
        return `<${top.localName} class="${top.className}">`;
    }
  return null;
}

for (const element of document.querySelectorAll(WHAT)) {
  if (!element.checkVisibility()) continue;
  const cut = find_cut(element);
  if (cut) { tell('cut', element, cut); continue; }
  const cover = find_cover(element);
  if (cover) tell('covered', element, 'lies below ' + cover);
}
window.scrollTo(0, 0);
if (document.documentElement.scrollWidth > window_width + SLACK)
  tell('wide', document.body, `is ${document.documentElement.scrollWidth} ` +
       `pixels wide, and the window ${window_width}`);
return faults;
