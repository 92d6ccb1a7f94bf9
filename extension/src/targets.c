/*
 * targets.c
 *		Finds the workflows that a message is for.
 */
#include "pawl.h"

#include "catalog/pg_type.h"
#include "utils/tuplestore.h"

/*
 * find_targets(workflow_ids text[]) RETURNS TABLE (workflow_id text, workflow_key bigint, workflow_name text, queue_id integer, claimed_by uuid,
 *		ended boolean)
 *
 * With the latest snapshot, also in REPEATABLE READ: there an enqueue_workflow may just have answered the id of a workflow that the transaction
 * itself does not see. Called by a definer.
 */
PG_FUNCTION_INFO_V1(pawl_find_targets_1_0);
Datum
pawl_find_targets_1_0(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	ReturnSetInfo *result;
	Datum		values[1];

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	values[0] = PG_GETARG_DATUM(0);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plan == NULL)
	{
		/* One statement: a workflow that ends meanwhile is in one of the two. */
		plan = pawl_prepare("SELECT w.workflow_id, w.workflow_key, w.workflow_name, w.queue_id, w.claimed_by, false"
							" FROM pawl.workflow w WHERE w.workflow_id OPERATOR(pg_catalog.=) ANY ($1)"
							" UNION ALL SELECT h.workflow_id, h.workflow_key, h.workflow_name, h.queue_id, NULL, true"
							" FROM pawl.workflow_history h WHERE h.workflow_id OPERATOR(pg_catalog.=) ANY ($1)",
							1, ((Oid[]) {TEXTARRAYOID}));
	}
	if (pawl_execute_latest(plan, values, NULL) != SPI_OK_SELECT)
		elog(ERROR, "could not look for workflows");
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	return (Datum) 0;
}
