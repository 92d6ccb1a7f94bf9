/*
 * owner.c
 *		Reaching pawl's tables for a caller who has no right on them: the functions here switch to the owner of the extension's schema.
 */
#include "pawl.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

Oid
pawl_schema(void)
{
	return get_namespace_oid("pawl", false);
}

Oid
pawl_relation(const char *name)
{
	Oid			relation = get_relname_relid(name, pawl_schema());

	if (!OidIsValid(relation))
		elog(ERROR, "pawl.%s does not exist: the extension is damaged", name);
	return relation;
}

Oid
pawl_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(pawl_schema()));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "schema pawl is gone");
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
pawl_become_owner(PawlOwner *state)
{
	Oid			owner = pawl_owner();

	GetUserIdAndSecContext(&state->saved_user, &state->saved_context);
	SetUserIdAndSecContext(owner, state->saved_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

/* After an error the transaction's abort restores the user. */
void
pawl_become_caller(const PawlOwner *state)
{
	SetUserIdAndSecContext(state->saved_user, state->saved_context);
}

/* A kept plan, made once: the tables are mostly empty when a session prepares, so estimates for its first values would be no better. */
SPIPlanPtr
pawl_prepare(const char *sql, int count, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, count, types, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

/* Runs a kept plan with the latest snapshot where the transaction's own may be too old to see what was committed. */
int
pawl_execute_latest(SPIPlanPtr plan, Datum *values, const char *nulls)
{
	Snapshot	snapshot;
	int			result;

	if (!IsolationUsesXactSnapshot())
		return SPI_execute_plan(plan, values, nulls, false, 0);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	result = SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot, false, true, 0);
	UnregisterSnapshot(snapshot);
	return result;
}

char *
pawl_user_name(Oid user)
{
	return GetUserNameFromId(user, false);
}
