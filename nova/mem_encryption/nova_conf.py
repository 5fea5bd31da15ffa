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

"""Say what is wrong with nova.conf, without a line or a value of it.

There are passwords in it. Of Nova only nova/mem_encryption is imported.
"""
import contextlib
import glob
import io
import logging
import os
import re
import typing as ty

from oslo_config import cfg

# How those options begin
FILE, FOLDER = '--config-file=', '--config-dir='


class Unusable(cfg.Error):
    """nova.conf cannot be read; the message is a sentence to be shown."""


@contextlib.contextmanager
def reading(conf: cfg.ConfigOpts, options: ty.Sequence[str]
            ) -> ty.Iterator[None]:
    """Have the files read within, whatever is wrong with them.

    :param conf: what reads them
    :param options: '--config-file=PATH' and '--config-dir=PATH'
    :raises Unusable: if they cannot be read
    """
    # NOTE: nothing sets up logging in a command, and what fails is said.
    logging.getLogger().addHandler(logging.NullHandler())
    said = io.StringIO()
    try:
        for folder in _get(options, FOLDER):
            # oslo.config takes one that it may not list for an empty one.
            os.listdir(folder)
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as e:
        # NOTE: so ends oslo.config where a file has an option that commands
        # take, with a value that is none. It prints that.
        option = re.search(r'argument --?([\w-]+)', said.getvalue())
        raise Unusable('%s: option %s has a value that it cannot have.' % (
            ' or '.join(_find(conf, options)),
            option.group(1) if option else 'of a command')) from e
    except UnicodeDecodeError as e:
        raise Unusable(_find_undecodable(_find(conf, options))) from e
    except (cfg.Error, OSError, ValueError) as e:
        raise Unusable(explain(e)) from e


def explain(error: Exception) -> str:
    """Say what is wrong with nova.conf.

    :param error: what oslo.config has raised, also if it was asked for an
        option when all files had been read
    :returns: a sentence
    """
    if isinstance(error, Unusable):
        return str(error)
    if isinstance(error, cfg.ConfigFileParseError):
        cause = error.__context__
        return '%s cannot be parsed%s.' % (
            error.config_file, ', line %d: %s' % (
                cause.lineno, cause.msg.rstrip('.')
            ) if isinstance(cause, cfg.ParseError) else '')
    if isinstance(error, cfg.ConfigSourceValueError):
        option, where = re.search(
            r"option (\S+)(?: from .*?detail='([^']*)')?", '%s option ?'
            % error.msg).groups()
        return '%s: option %s has a value that it cannot have.' % (
            where or 'nova.conf', option)
    if isinstance(error, cfg.ConfigFilesPermissionDeniedError):
        return '%s cannot be read: Permission denied.' % ', '.join(
            error.config_files)
    if isinstance(error, (cfg.ConfigFilesNotFoundError,
                          cfg.ConfigDirNotFoundError, cfg.NoSuchOptError,
                          cfg.NoSuchGroupError, cfg.RequiredOptError)):
        return '%s.' % str(error).rstrip('.')  # paths and names
    if isinstance(error, OSError) and error.filename is not None:
        return '%s cannot be read: %s.' % (error.filename, error.strerror)
    return 'nova.conf cannot be used (%s).' % type(error).__name__


def get_files(conf: cfg.ConfigOpts) -> ty.List[str]:
    """Return the files that were read; those of folders come last.

    :param conf: what has read them
    """
    return [os.path.abspath(path) for path in conf.config_file] + [
        path for folder in conf.config_dirs or conf.default_config_dirs
        for path in _list(folder)]


def name_files(conf: cfg.ConfigOpts) -> str:
    """Say which files were read, in place of 'nova.conf'."""
    files = get_files(conf)
    return 'nova.conf (%s)' % (
        'read: ' + ', '.join(files) if files else 'none was found')


def _get(options: ty.Sequence[str], name: str) -> ty.List[str]:
    return [option[len(name):] for option in options
            if option.startswith(name)]


def _list(folder: str) -> ty.List[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), '*.conf')))


def _find(conf: cfg.ConfigOpts, options: ty.Sequence[str]) -> ty.List[str]:
    """Return the files that would be read."""
    return (_get(options, FILE) or conf.default_config_files) + [
        path for folder in
        _get(options, FOLDER) or conf.default_config_dirs
        for path in _list(folder)]


def _find_undecodable(paths: ty.Sequence[str]) -> str:
    """Say which file is no text; the error of oslo.config does not."""
    for path in paths:
        number = 0
        try:
            with open(path, 'rb') as f:
                for number, line in enumerate(f, 1):
                    line.decode()
        except UnicodeDecodeError:
            return ('%s cannot be read: line %d is not UTF-8. Convert the '
                    'file with iconv, or correct that line.' % (path, number))
        except OSError:
            continue
    return 'nova.conf cannot be read: it is not UTF-8.'
