/*
 * baton.c
 *		A waiter whose client is gone is woken and cannot claim: the wake-up must
 *		go on to another one. With the poll off.
 *
 *	baton ROUNDS
 */
#include "attack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char waiting[] =
"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'protocol' AND query LIKE 'CALL pawl.wait%' AND state = 'active'";

/* A worker in a process of its own that arms, waits, and completes what it is woken for. */
static pid_t
waiter(void)
{
	pid_t		pid = fork();
	Worker		self;
	Claim		claim;

	if (pid != 0)
		return pid;
	/* It is going to be killed, at any point: that is no verdict. */
	if (freopen("/dev/null", "w", stdout) == NULL)
		_exit(1);
	worker_open(&self, "{a}", NULL);
	run(self.protocol, "SET pawl.poll_interval = 0");
	for (;;)
	{
		long		timeout;
		bool		woken;

		if (!worker_arm(&self, &timeout))
			_exit(1);
		worker_claim(&self, 10, &claim);
		if (claim.count == 0 && !worker_wait(&self, timeout, &woken))
			_exit(1);
		if (claim.count == 0)
			worker_claim(&self, 10, &claim);
		worker_complete(&self, &claim);
	}
}

int
main(int argc, char **argv)
{
	int			rounds = argc > 1 ? atoi(argv[1]) : 10;
	static const char left[] = "SELECT count(*) FROM pawl.workflow";

	for (int i = 0; i < rounds; i++)
	{
		bool		by_server = i % 2;
		PGconn	   *session;
		pid_t		first = waiter();
		pid_t		second;

		/* A session must not be shared with a fork. */
		session = open_session("attack");
		if (!becomes(session, waiting, 1, 20))
			give_up("the first waiter does not wait");
		PQfinish(session);
		second = waiter();
		session = open_session("attack");
		if (!becomes(session, waiting, 2, 20))
			give_up("the second waiter does not wait");
		if (by_server)
		{
			/* Killed after it was woken, in one statement: it may or may not have begun its claim. */
			run(session, "SELECT pawl.enqueue_workflow('a')");
			run(session, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'protocol'"
				" ORDER BY backend_start LIMIT 1");
		}
		else
		{
			/* Its server process has not noticed yet that nobody listens. */
			kill(first, SIGKILL);
			run(session, "SELECT pawl.enqueue_workflow('a')");
		}
		/* A claim may have gone through in the killed session: then its death is for recovery to mend, not for the wake-up. */
		if (!becomes(session, "SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NULL", 0, 20))
			give_up("round %d (%s): the wake-up died with the waiter; %ld left", i, by_server ? "terminated" : "client killed", ask(session, left));
		kill(first, SIGKILL);
		kill(second, SIGKILL);
		while (wait(NULL) > 0)
			;
		run(session, "DELETE FROM pawl.workflow");
		if (!becomes(session, "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('protocol', 'life line')", 0, 20))
			give_up("the sessions of killed waiters stay");
		PQfinish(session);
	}
	succeed("%d waiters died while woken, and another one did the work", rounds);
}
