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

"""Configure Sphinx."""
import os
import sys

sys.path.insert(0, os.path.abspath('../ext'))
sys.path.insert(0, os.path.abspath('../..'))

import languages
import nova_mem_encryption

project = 'nova-mem-encryption'
release = nova_mem_encryption.__version__
copyright = 'its contributors'
extensions = ['alert_table', 'anchors', 'drawings', 'error_tables',
              'languages', 'model_tables', 'reno.sphinxext',
              'sphinx_copybutton', 'tables']
html_theme = 'furo'
html_title = '%s %s' % (project, release)
html_theme_options = {
    # What doc/ext/svg.py paints with
    'light_css_variables': {'drawing-no': '#a3282d', 'drawing-yes': '#2f6f4f'},
    'dark_css_variables': {'drawing-no': '#ff8a8f', 'drawing-yes': '#7fd0a5'},
}
html_static_path = ['_static']
html_css_files = ['pages.css']
html_show_sourcelink = False
copybutton_selector = ', '.join(
    'div.highlight-%s pre' % language for language in languages.COPIED)
copybutton_prompt_text = '$ '
