"""The server and the workers of a run, and what is done to them."""

import os
import random
import signal
import subprocess
import threading
import time

from postgres import Connection, PostgresError


class Cluster:
    """The private cluster that scripts/with-cluster started."""

    def __init__(self):
        if os.environ.get("PAWL_TEST_CLUSTER") != "1":
            raise SystemExit("no private cluster: run scripts/property-test")
        self.host, self.port = os.environ["PGHOST"], os.environ["PGPORT"]

    def conninfo(self, database, user="postgres"):
        return f"host={self.host} port={self.port} user={user} dbname={database}"

    def restart(self, mode):
        user = os.environ["PAWL_POSTGRES_USER"]
        become = [] if os.geteuid() != 0 else ["runuser", "-u", user, "--"]
        subprocess.run(
            become + [os.path.join(os.environ["PAWL_POSTGRES_BIN"], "pg_ctl"), "-D", os.environ["PAWL_POSTGRES_DATA"], "-s", "-m", mode,
                      "-l", os.environ["PAWL_POSTGRES_LOG"], "-w", "-t", "120", "restart"],
            cwd="/", check=True, stdout=subprocess.DEVNULL)


class Worker:
    def __init__(self, number, command, environment, directory):
        self.number = number
        self.command = command
        self.environment = environment
        self.directory = directory
        self.lives = 0
        self.process = None
        self.stopped = False

    def start(self):
        self.lives += 1
        path = os.path.join(self.directory, f"worker-{self.number}-{self.lives}.log")
        with open(path, "wb") as log:
            self.process = subprocess.Popen(self.command + ["--name", f"worker-{self.number}"], env=self.environment, stdout=log, stderr=log)
        self.stopped = False

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def is_running(self):
        return self.process.poll() is None

    def end(self):
        if self.is_running():
            self.process.kill()
        self.process.wait()


class Faults(threading.Thread):
    """Throws faults at the workers and the server, in an order and at intervals that the seed gives."""

    def __init__(self, seed, cluster, database, workers, pace, restarts):
        super().__init__(daemon=True)
        self.random = random.Random(f"{seed}:faults")
        self.cluster = cluster
        self.workers = workers
        self.pace = pace
        self.restarts = restarts
        self.connection = Connection(cluster.conninfo(database))
        self.counts = {"kills": 0, "terms": 0, "stops": 0, "cuts": 0, "restarts": 0}
        self.later = []  # (time, what)
        self.over = threading.Event()
        self.resting = threading.Event()
        self.unexpected = []
        self.failure = None

    def run(self):
        try:
            upcoming = time.monotonic() + self.gap()
            while not self.over.is_set():
                now = time.monotonic()
                for entry in [e for e in self.later if e[0] <= now]:
                    self.later.remove(entry)
                    entry[1]()
                if now >= upcoming:
                    if not self.resting.is_set():
                        self.fault()
                    upcoming = time.monotonic() + self.gap()
                self.check()
                self.over.wait(0.02)
        except Exception as error:  # the run is told of it
            self.failure = error
        for _, what in self.later:
            what()

    def gap(self):
        return self.random.expovariate(1 / self.pace)

    def check(self):
        """A worker that ended by itself."""
        for worker in self.workers:
            if not worker.is_running() and not getattr(worker, "restarting", False):
                self.unexpected.append(f"worker-{worker.number}-{worker.lives} ended by itself: {worker.process.returncode}")
                worker.start()

    def restart_later(self, worker, delay):
        worker.restarting = True

        def again():
            worker.end()
            worker.start()
            worker.restarting = False

        self.later.append((time.monotonic() + delay, again))

    def fault(self):
        kind = self.random.choices(["kill", "stop", "term", "cut", "restart"], [10, 5, 2, 3, 1.5 if self.restarts else 0])[0]
        free = [w for w in self.workers if not w.stopped and not getattr(w, "restarting", False)]
        if kind == "restart":
            self.cluster.restart(self.random.choice(["immediate", "immediate", "fast"]))
            self.counts["restarts"] += 1
            return
        if not free:
            return
        worker = self.random.choice(free)
        if kind == "kill":
            worker.signal(signal.SIGKILL)
            worker.process.wait()
            self.counts["kills"] += 1
            self.restart_later(worker, self.random.choice([0, 0, 0.2, 1]))
        elif kind == "term":
            worker.signal(signal.SIGTERM)
            self.counts["terms"] += 1
            self.restart_later(worker, self.random.choice([0.5, 2]))
        elif kind == "stop":
            worker.signal(signal.SIGSTOP)
            worker.stopped = True
            self.counts["stops"] += 1

            def go_on():
                worker.signal(signal.SIGCONT)
                worker.stopped = False

            self.later.append((time.monotonic() + self.random.choice([0.05, 0.3, 1, 3, 6]), go_on))
            # Sometimes what a network does that goes away meanwhile: its sessions end, and it is fenced.
            if self.random.random() < 0.5:
                self.cut(worker)
        else:
            self.cut(worker)

    def cut(self, worker):
        try:
            self.connection.once(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", f"worker-{worker.number}")
            self.counts["cuts"] += 1
        except PostgresError as error:
            if not error.is_transient:
                raise

    def finish(self):
        self.over.set()
        self.join()
        if self.failure:
            raise self.failure
