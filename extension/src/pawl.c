/*
 * pawl.c
 *		The library: settings and callbacks.
 */
#include "pawl.h"

#include "utils/guc.h"

PG_MODULE_MAGIC;

int			pawl_max_payload = 1024 * 1024;
int			pawl_max_steps = 50000;
int			pawl_max_recoveries = 3;
int			pawl_poll_interval = 1000;
bool		pawl_require_handler = false;
static char *pawl_reason = NULL;	/* pawl.record_action reads it as a setting */

#define MAX_REASON 1024			/* bytes, as of the reason arguments */

void		_PG_init(void);

static bool
check_reason(char **value, void **extra, GucSource source)
{
	if (*value == NULL || strlen(*value) <= MAX_REASON)
		return true;
	GUC_check_errdetail("It has %zu bytes.", strlen(*value));
	GUC_check_errhint("Give a text of up to %d bytes; an empty one is none.", MAX_REASON);
	return false;
}

void
_PG_init(void)
{
	DefineCustomIntVariable("pawl.max_payload", "The largest input, output or message, in bytes of its JSON text.", NULL,
							&pawl_max_payload, 1024 * 1024, 1024, 256 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE, NULL, NULL, NULL);
	DefineCustomIntVariable("pawl.max_steps", "How many steps one workflow may record.", NULL,
							&pawl_max_steps, 50000, 1, 10000000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pawl.max_recoveries", "After how many crashes that a workflow met alone, with no step recorded in between, it fails.", NULL,
							&pawl_max_recoveries, 3, 1, 1000000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("pawl.poll_interval", "How long an idle worker waits at most before it looks by itself; for signals five times as long.",
							"0: until it is woken. What only the poll finds: prepared transactions, logical replication, rows written by other means.",
							&pawl_poll_interval, 1000, 0, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("pawl.require_handler", "Whether enqueueing a workflow name that no worker ever offered is an error.", NULL,
							 &pawl_require_handler, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("pawl.reason", "Why you do what pawl.audit records, where no reason argument says it.",
							   "Up to 1024 bytes. SET LOCAL pawl.reason = 'ticket 42' says it for one transaction.",
							   &pawl_reason, "", PGC_USERSET, 0, check_reason, NULL, NULL);
	MarkGUCPrefixReserved("pawl");

	pawl_init_cache();
	pawl_init_marks();
}

#if PG_VERSION_NUM < 150000
/* What InitMaterializedSRF does from 15 on. */
void
pawl_materialize(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	TupleDesc	descriptor;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(false, false, work_mem);
	result->setDesc = descriptor;
	MemoryContextSwitchTo(old);
}
#endif
