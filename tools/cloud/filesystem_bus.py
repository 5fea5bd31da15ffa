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

"""Let processes share a folder and SQLite in place of servers of their own.

Nova finds Driver as an entry point, for transport_url = folder:///FOLDER. A
message is a file: written elsewhere, renamed into the queue, and renamed
again by the one who takes it. Whoever waits looks again and again.

SQLAlchemy finds Sqlite as an entry point, for sqlite:///FILE?plugin=shared.
"""
import os
import sqlite3
import time
import uuid

import oslo_messaging
from oslo_messaging._drivers import base
from oslo_messaging._drivers import common
from oslo_serialization import jsonutils
import sqlalchemy
from sqlalchemy import engine

PAUSE = 0.03  # seconds
# How long SQLite waits to begin a transaction, and how long we do
BUSY_MILLISECONDS, LOCK_SECONDS = 100, 60


class Driver(base.BaseDriver):
    """RPC over a folder."""

    def __init__(self, conf, url, default_exchange=None,
                 allowed_remote_exmods=None):
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        self._root = '/' + url.virtual_host

    def folder(self, *names):
        path = os.path.join(self._root, *names)
        os.makedirs(path, exist_ok=True)
        return path

    def queue(self, target, kind, server=''):
        """Return the folder that holds the messages of one kind."""
        return self.folder(target.exchange or self._default_exchange,
                           target.topic, kind, server)

    def put(self, content, *paths):
        for path in paths:
            draft = os.path.join(self.folder('drafts'), uuid.uuid4().hex)
            with open(draft, 'w', encoding='utf-8') as f:
                f.write(jsonutils.dumps(content))
            os.rename(draft, path)

    def reply_path(self, number):
        return os.path.join(self.folder('replies'), number)

    def send(self, target, ctxt, message, wait_for_reply=None, timeout=None,
             call_monitor_timeout=None, retry=None, transport_options=None):
        if target.fanout:
            everyone = self.queue(target, 'fanout')
            queues = [os.path.join(everyone, server)
                      for server in os.listdir(everyone)]
        elif target.server:
            queues = [self.queue(target, 'server', target.server)]
        else:
            queues = [self.queue(target, 'any')]
        number = uuid.uuid4().hex
        # By their names, messages are taken in the order they were sent.
        name = '%020d-%s' % (time.time_ns(), number)
        self.put({'ctxt': ctxt, 'message': message,
                  'reply to': number if wait_for_reply else None},
                 *(os.path.join(queue, name) for queue in queues))
        if wait_for_reply:
            return self._wait(self.reply_path(number), timeout or
                              self.conf.rpc_response_timeout)

    def _wait(self, path, timeout):
        end = time.monotonic() + timeout
        while not os.path.exists(path):
            if time.monotonic() > end:
                raise oslo_messaging.MessagingTimeout(
                    'No reply in %s within %s s' % (path, timeout))
            time.sleep(PAUSE)
        reply = _take(path)
        if reply['failure']:
            raise common.deserialize_remote_exception(
                reply['failure'], self._allowed_remote_exmods)
        return reply['reply']

    def send_notification(self, target, ctxt, message, version, retry=None):
        self.send(target, ctxt, message)

    def listen(self, target, batch_size, batch_timeout):
        return base.PollStyleListenerAdapter(
            Listener(self, target), batch_size, batch_timeout)

    def listen_for_notifications(self, targets_and_priorities, pool,
                                 batch_size, batch_timeout):
        raise NotImplementedError('no service of this cloud listens')

    def cleanup(self):
        """The folder stays, for the other processes."""


class Listener(base.PollStyleListener):
    """Takes what is for one server, and what is for any of its topic."""

    def __init__(self, driver, target):
        super().__init__()
        self._driver = driver
        self._stopped = False
        fanout = driver.queue(target, 'fanout', target.server)
        for name in os.listdir(fanout):
            # It was for the process that had this name before.
            os.unlink(os.path.join(fanout, name))
        self._queues = [driver.queue(target, 'any'), fanout,
                        driver.queue(target, 'server', target.server)]

    @base.batch_poll_helper
    def poll(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while not self._stopped:
            for queue in self._queues:
                for name in sorted(os.listdir(queue)):
                    taken = os.path.join(self._driver.folder('taken'),
                                         uuid.uuid4().hex)
                    try:
                        os.rename(os.path.join(queue, name), taken)
                    except FileNotFoundError:
                        continue  # another process was quicker
                    return Message(self._driver, _take(taken))
            if end is not None and time.monotonic() > end:
                break
            time.sleep(PAUSE)

    def stop(self):
        self._stopped = True


class Message(base.RpcIncomingMessage):
    """A message that can be replied to."""

    def __init__(self, driver, content):
        super().__init__(content['ctxt'], content['message'])
        self._driver = driver
        self._reply_to = content['reply to']

    def reply(self, reply=None, failure=None):
        if self._reply_to:
            self._driver.put(
                {'reply': reply, 'failure': failure and
                    common.serialize_remote_exception(failure)},
                self._driver.reply_path(self._reply_to))

    def requeue(self):
        raise NotImplementedError('Nova asks for it nowhere')

    def heartbeat(self):
        """The caller waits its full time anyway."""


def _take(path):
    with open(path, encoding='utf-8') as f:
        content = jsonutils.loads(f.read())
    os.unlink(path)
    return content


class Sqlite(engine.CreateEnginePlugin):
    """SQLite that several processes write to.

    With begin=deferred it is one process alone, as Glance is, which reads in
    transactions that it does not end.
    """

    def update_url(self, url):
        self.deferred = url.query.get('begin') == 'deferred'
        return url.difference_update_query(['plugin', 'begin'])

    def engine_created(self, engine):
        sqlalchemy.event.listen(engine, 'connect', self.read_while_written)
        if not self.deferred:
            sqlalchemy.event.listen(engine, 'do_execute', self.lock_at_begin)

    @staticmethod
    def read_while_written(connection, record):
        connection.execute('PRAGMA journal_mode=WAL')
        connection.execute('PRAGMA busy_timeout=%d' % BUSY_MILLISECONDS)

    @staticmethod
    def lock_at_begin(cursor, statement, parameters, context):
        """Begin a transaction as one that may write.

        Two that read, and then both write, would not wait for each other; one
        fails: "database is locked". While SQLite waits, all of the process
        does, and with it the green thread that is to end the other one.
        """
        if statement != 'BEGIN':
            return False  # SQLAlchemy does it
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                cursor.execute('BEGIN IMMEDIATE')
                return True
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
            time.sleep(PAUSE)
