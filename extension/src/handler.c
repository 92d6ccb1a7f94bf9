/*
 * handler.c
 *		Workflows that are one SQL function: who may make one, and how a worker runs it.
 *
 * A worker's session runs functions of many roles, one after the other, and each is as hostile to the worker and to the next one as its author
 * likes. So a function runs as its handler's role with SECURITY_LOCAL_USERID_CHANGE (no SET ROLE out of it), in a security-restricted operation
 * unless it is the session's own role (it leaves no temporary objects, prepared statements, held cursors or deferred triggers behind, which would
 * run later with another role's rights), and with settings that are undone after it.
 */
#include "pawl.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
#include "utils/varlena.h"

/* Whose function this session runs just now. */
static Oid	acting_role = InvalidOid;

/* The role of SET ROLE or the session's user, never a definer; while a function runs as a workflow, its role. */
Oid
pawl_outer_role(void)
{
	return OidIsValid(acting_role) ? acting_role : GetOuterUserId();
}

/* outer_user() RETURNS text */
PG_FUNCTION_INFO_V1(pawl_outer_user_1_0);
Datum
pawl_outer_user_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(pawl_user_name(pawl_outer_role())));
}

static void
refuse_function(Oid function, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
			 errmsg("%s cannot be a workflow", format_procedure_qualified(function)),
			 errdetail("%s", detail),
			 errhint("It is a function of (jsonb, text): the input and the workflow_id; of (jsonb); or of (). It returns one value that to_jsonb takes,"
					 " or void.")));
}

static void
check_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with oid %u does not exist", function),
				 errhint("Give it by its name and argument types: 'app.close_books(jsonb)'.")));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (form->prokind != PROKIND_FUNCTION)
		refuse_function(function, "It is a procedure, an aggregate or a window function.");
	if (form->proretset)
		refuse_function(function, "It returns a set.");
	if (OidIsValid(form->provariadic) || form->pronargs > 2
		|| (form->pronargs > 0 && form->proargtypes.values[0] != JSONBOID)
		|| (form->pronargs > 1 && form->proargtypes.values[1] != TEXTOID))
		refuse_function(function, "It has other arguments.");
	if (get_typtype(form->prorettype) == TYPTYPE_PSEUDO && form->prorettype != VOIDOID && form->prorettype != RECORDOID)
		refuse_function(function, "It returns a pseudo-type.");
	if (isAnyTempNamespace(form->pronamespace))
		refuse_function(function, "It is a temporary function, of this session alone.");
	ReleaseSysCache(tuple);
}

static Oid
function_owner(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

static bool
may_become(Oid user, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(user, role);
#else
	return is_member_of_role(user, role);
#endif
}

/* Whoever owns a function may put anything into it: not as a superuser, unless that is what the owner is. */
static void
check_owner(Oid function, Oid role)
{
	Oid			owner = function_owner(function);

	if (superuser_arg(role) && !superuser_arg(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s cannot run as superuser %s", format_procedure_qualified(function), pawl_user_name(role)),
				 errdetail("Its owner, %s, may change what it does, and is no superuser.", pawl_user_name(owner)),
				 errhint("Name another role: role => %s.", quote_literal_cstr(pawl_user_name(owner)))));
}

/* The search_path of the session with pg_temp last: a temporary table of another workflow is not to be taken for a real one. */
static char *
path_for_handler(void)
{
	char	   *copy = pstrdup(GetConfigOption("search_path", false, false));
	List	   *names;
	ListCell   *cell;
	StringInfoData path;

	initStringInfo(&path);
	if (!SplitIdentifierString(copy, ',', &names))
		elog(ERROR, "invalid search_path");
	foreach(cell, names)
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "pg_temp") != 0)
			appendStringInfo(&path, "%s, ", quote_identifier(name));
	}
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

static void
check_name_and_version(FunctionCallInfo fcinfo, int name, int version)
{
	pawl_check_name("workflow_name", PG_ARGISNULL(name) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(name)), PAWL_MAX_NAME);
	if (PG_ARGISNULL(version) || PG_GETARG_INT32(version) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow_version must be at least 1"),
				 errdetail("It is %s.", PG_ARGISNULL(version) ? "null" : psprintf("%d", PG_GETARG_INT32(version))),
				 errhint("Leave it out for 1.")));
}

/* A handler is changed by who made it, or by who may become that one, by the extension's owner and by superusers. */
static void
check_may_change(Oid user, const char *name, int32 version, const char *maker)
{
	Oid			made_by = get_role_oid(maker, true);

	if (superuser_arg(user) || has_privs_of_role(user, pawl_owner()) || (OidIsValid(made_by) && has_privs_of_role(user, made_by)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("role %s may not change the handler of \"%s\" version %d", pawl_user_name(user), name, version),
			 errdetail("It was made by %s.", maker),
			 errhint("Whoever is a member of that role may.")));
}

/* Who made the handler, which is locked; NULL: there is none. To be called inside SPI. */
static char *
handler_maker(Datum name, int32 version)
{
	Datum		values[2] = {name, Int32GetDatum(version)};

	if (SPI_execute_with_args("SELECT h.created_by FROM pawl.sql_handler h WHERE h.workflow_name OPERATOR(pg_catalog.=) $1"
							  " AND h.workflow_version OPERATOR(pg_catalog.=) $2 FOR UPDATE", 2, ((Oid[]) {TEXTOID, INT4OID}), values, NULL, false,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not read pawl.sql_handler");
	return SPI_processed == 0 ? NULL : SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/*
 * Writes to pawl.audit; whoever waits looks again, and nobody goes on with what was looked up before. To be called inside SPI, as the owner.
 * function and role: of a handler that is there now, otherwise 0.
 */
static void
handlers_changed(const char *action, Datum name, Datum version, Datum function, Datum role)
{
	Datum		values[5] = {CStringGetTextDatum(action), name, version, function, role};
	char		nulls[6] = {' ', ' ', ' ', function == 0 ? 'n' : ' ', role == 0 ? 'n' : ' '};

	if (SPI_execute_with_args("SELECT pawl.record_action($1, 'handler', ARRAY[$2], NULL, pg_catalog.jsonb_strip_nulls("
							  "pg_catalog.jsonb_build_object('workflow_version', $3, 'function', $4, 'role', $5)))", 5,
							  ((Oid[]) {TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID}), values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not write pawl.audit_entry");
	CacheInvalidateRelcacheByRelid(pawl_relation("queue"));
	pawl_mark_offers();
}

/*
 * create_handler(workflow_name text, function regprocedure, workflow_version integer, role name, on_existing text) RETURNS void
 *
 * Not SECURITY DEFINER: what counts is who calls it, also from within a definer function. A role that has access may give a workflow to a function
 * that it may execute, and let it run as any role that it may become.
 */
PG_FUNCTION_INFO_V1(pawl_create_handler_1_0);
Datum
pawl_create_handler_1_0(PG_FUNCTION_ARGS)
{
	Oid			user = GetUserId();
	Oid			function;
	Oid			role;
	int32		version;
	const char *name;
	const char *on_existing = PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4));
	char	   *maker;
	PawlOwner	owner;
	Datum		values[7];
	bool		written;

	PreventCommandIfReadOnly("create_handler()");
	check_name_and_version(fcinfo, 0, 2);
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	version = PG_GETARG_INT32(2);
	if (on_existing == NULL || (strcmp(on_existing, "raise") != 0 && strcmp(on_existing, "keep") != 0 && strcmp(on_existing, "replace") != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_existing is not one of raise, keep, replace"),
				 on_existing == NULL ? errdetail("It is null.") : errdetail("It is \"%s\".", on_existing),
				 errhint("raise: an error if the handler exists; keep: leave it as it is; replace: give it this function and role.")));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("function must not be null"),
				 errdetail("It is what runs the workflow."),
				 errhint("Give it by its name and argument types: 'app.close_books(jsonb)'.")));
	function = PG_GETARG_OID(1);
	check_function(function);
	role = PG_ARGISNULL(3) ? user : get_role_oid(NameStr(*PG_GETARG_NAME(3)), false);
	if (!may_become(user, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role %s may not become role %s", pawl_user_name(user), pawl_user_name(role)),
				 errdetail("The function would run with that role's rights."),
				 errhint("Leave role out for your own, or be granted membership in it.")));
	if (object_aclcheck(ProcedureRelationId, function, user, ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	if (object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role %s may not execute %s", pawl_user_name(role), format_procedure_qualified(function)),
				 errhint("Grant it with: GRANT EXECUTE ON FUNCTION %s TO %s;", format_procedure_qualified(function),
						 quote_identifier(pawl_user_name(role)))));

	check_owner(function, role);

	values[0] = PG_GETARG_DATUM(0);
	values[1] = Int32GetDatum(version);
	values[2] = CStringGetTextDatum(format_procedure_qualified(function));
	values[3] = CStringGetTextDatum(pawl_user_name(function_owner(function)));
	values[4] = CStringGetTextDatum(path_for_handler());
	values[5] = CStringGetTextDatum(pawl_user_name(role));
	values[6] = CStringGetTextDatum(pawl_user_name(user));
	pawl_become_owner(&owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("INSERT INTO pawl.sql_handler (workflow_name, workflow_version, function_signature, function_owner, search_path,"
							  " role_name, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING", 7,
							  ((Oid[]) {TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}), values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write pawl.sql_handler");
	written = SPI_processed > 0;
	if (!written && strcmp(on_existing, "raise") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" version %d has a handler", name, version),
				 errdetail("Nothing was changed."),
				 errhint("Give on_existing => 'keep' to leave it as it is, or 'replace' to give it this function; or another workflow_version.")));
	if (!written && strcmp(on_existing, "replace") == 0)
	{
		maker = handler_maker(values[0], version);
		if (maker != NULL)
			check_may_change(user, name, version, maker);
		if (SPI_execute_with_args("UPDATE pawl.sql_handler h SET function_signature = $3, function_owner = $4, search_path = $5, role_name = $6,"
								  " created_by = $7, created_at = pg_catalog.now() WHERE h.workflow_name OPERATOR(pg_catalog.=) $1"
								  " AND h.workflow_version OPERATOR(pg_catalog.=) $2", 7,
								  ((Oid[]) {TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}), values, NULL, false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "could not write pawl.sql_handler");
		written = true;
	}
	if (written)
	{
		if (SPI_execute_with_args("INSERT INTO pawl.known_handler (workflow_name) VALUES ($1) ON CONFLICT DO NOTHING", 1, ((Oid[]) {TEXTOID}), values,
								  NULL, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not write pawl.known_handler");
		handlers_changed("create_handler", values[0], values[1], values[2], values[5]);
	}
	SPI_finish();
	pawl_become_caller(&owner);
	PG_RETURN_VOID();
}

/* drop_handler(workflow_name text, workflow_version integer) RETURNS boolean */
PG_FUNCTION_INFO_V1(pawl_drop_handler_1_0);
Datum
pawl_drop_handler_1_0(PG_FUNCTION_ARGS)
{
	Oid			user = GetUserId();
	char	   *maker;
	PawlOwner	owner;

	PreventCommandIfReadOnly("drop_handler()");
	check_name_and_version(fcinfo, 0, 1);
	pawl_become_owner(&owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	maker = handler_maker(PG_GETARG_DATUM(0), PG_GETARG_INT32(1));
	if (maker != NULL)
	{
		Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};

		check_may_change(user, text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT32(1), maker);
		if (SPI_execute_with_args("DELETE FROM pawl.sql_handler h WHERE h.workflow_name OPERATOR(pg_catalog.=) $1"
								  " AND h.workflow_version OPERATOR(pg_catalog.=) $2", 2, ((Oid[]) {TEXTOID, INT4OID}), values, NULL, false,
								  0) != SPI_OK_DELETE)
			elog(ERROR, "could not write pawl.sql_handler");
		handlers_changed("drop_handler", values[0], values[1], 0, 0);
	}
	SPI_finish();
	pawl_become_caller(&owner);
	PG_RETURN_BOOL(maker != NULL);
}

typedef struct Run
{
	text	   *workflow_id;
	Jsonb	   *input;
	char	   *cancel_reason;	/* NULL: nobody asked for it */
	char	   *signature;		/* NULL: it has no handler any more */
	char	   *owner;
	char	   *search_path;
	char	   *role;
} Run;

/* What is to be run; false: not this worker's any more. */
static bool
find_run(Datum *fence, Run *run)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext caller = CurrentMemoryContext;
	bool		found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plan == NULL)
		plan = pawl_prepare("SELECT r.workflow_id, r.input, r.cancel_reason, r.function_signature, r.function_owner, r.search_path, r.role_name"
						   " FROM pawl.find_handler_run($1, $2, $3) r", 3, ((Oid[]) {UUIDOID, INT8OID, INT4OID}));
	if (SPI_execute_plan(plan, fence, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the workflow");
	found = SPI_processed > 0;
	if (found)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	descriptor = SPI_tuptable->tupdesc;
		bool		isnull;
		MemoryContext spi;
		Datum		id = SPI_getbinval(tuple, descriptor, 1, &isnull);
		Datum		input = SPI_getbinval(tuple, descriptor, 2, &isnull);
		char	   *texts[5];

		for (int i = 0; i < 5; i++)
			texts[i] = SPI_getvalue(tuple, descriptor, 3 + i);
		spi = MemoryContextSwitchTo(caller);
		run->workflow_id = DatumGetTextPCopy(id);
		run->input = isnull ? NULL : DatumGetJsonbPCopy(input);
		run->cancel_reason = texts[0] == NULL ? NULL : pstrdup(texts[0]);
		run->signature = texts[1] == NULL ? NULL : pstrdup(texts[1]);
		run->owner = texts[2] == NULL ? NULL : pstrdup(texts[2]);
		run->search_path = texts[3] == NULL ? NULL : pstrdup(texts[3]);
		run->role = texts[4] == NULL ? NULL : pstrdup(texts[4]);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return found;
}

/* Its handler was dropped, or it was moved to another version, after the claim: it is handed back, for whoever can run it. */
static void
hand_back(Datum *fence)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("SELECT r.refusal FROM pawl.release_workflows($1, ARRAY[$2], ARRAY[$3]) r", 3, ((Oid[]) {UUIDOID, INT8OID, INT4OID}),
							  fence, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not hand the workflow back");
	SPI_finish();
}

/* The function that its handler meant, and the role, if both are still what they were; what they may is asked anew. */
static Oid
resolve(const Run *run, Oid *role)
{
	Datum		found;
	Oid			function;
	LOCAL_FCINFO(call, 1);

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = CStringGetTextDatum(run->signature);
	call->args[0].isnull = false;
	found = to_regprocedure(call);
	if (call->isnull)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s does not exist", run->signature),
				 errdetail("It was dropped or renamed after the handler was made."),
				 errhint("Give the handler another one: pawl.create_handler with on_existing => 'replace'.")));
	function = DatumGetObjectId(found);
	check_function(function);
	*role = get_role_oid(run->role, false);
	if (strcmp(pawl_user_name(function_owner(function)), run->owner) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s is not the one that the handler was made with", run->signature),
				 errdetail("Its owner was %s and is %s.", run->owner, pawl_user_name(function_owner(function))),
				 errhint("If that is right: pawl.create_handler with on_existing => 'replace'.")));
	if (object_aclcheck(ProcedureRelationId, function, *role, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role %s may not execute %s", run->role, run->signature),
				 errhint("Grant it with: GRANT EXECUTE ON FUNCTION %s TO %s;", run->signature, quote_identifier(run->role))));
	check_owner(function, *role);
	return function;
}

/* Calls the function, by its oid, and makes jsonb of its result: both with the rights of whoever is the current user. */
static Jsonb *
call_function(Oid function, const Run *run)
{
	Oid			result_type = get_func_rettype(function);
	int			nargs = get_func_nargs(function);
	FmgrInfo	info;
	List	   *arguments = NIL;
	PgStat_FunctionCallUsage usage;
	Datum		result;
	LOCAL_FCINFO(call, 2);

	if (nargs > 0)
		arguments = lappend(arguments, makeConst(JSONBOID, -1, InvalidOid, -1, PointerGetDatum(run->input), false, false));
	if (nargs > 1)
		arguments = lappend(arguments, makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, PointerGetDatum(run->workflow_id), false, false));
	fmgr_info(function, &info);
	fmgr_info_set_expr((Node *) makeFuncExpr(function, result_type, arguments, get_typcollation(result_type), DEFAULT_COLLATION_OID,
											 COERCE_EXPLICIT_CALL), &info);
	InitFunctionCallInfoData(*call, &info, nargs, DEFAULT_COLLATION_OID, NULL, NULL);
	call->args[0].value = PointerGetDatum(run->input);
	call->args[0].isnull = false;
	call->args[1].value = PointerGetDatum(run->workflow_id);
	call->args[1].isnull = false;
	pgstat_init_function_usage(call, &usage);
	result = FunctionCallInvoke(call);
	pgstat_end_function_usage(&usage, true);
	if (call->isnull || result_type == VOIDOID)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("null")));
	return pawl_to_jsonb(result_type, -1, get_typcollation(result_type), result);
}

/* Deferred constraints are checked as they come: at the commit they would run with the rights of the session. */
static void
check_constraints_at_once(void)
{
	ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);

	statement->constraints = NIL;
	statement->deferred = false;
	AfterTriggerSetState(statement);
}

/*
 * How many objects the session's temporary schema has. A security-restricted operation may make no temporary tables, but functions and types; and a
 * type there comes before the one of pg_catalog that the worker's next statement means.
 */
static int64
temporary_objects(void)
{
	Oid			schema;
	Oid			toast;
	Datum		values[1];
	bool		isnull;
	int64		count;
	PawlOwner	owner;

	GetTempNamespaceState(&schema, &toast);
	if (!OidIsValid(schema))
		return 0;
	values[0] = ObjectIdGetDatum(schema);
	pawl_become_owner(&owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d WHERE d.refobjid OPERATOR(pg_catalog.=) $1"
							  " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass", 1, ((Oid[]) {OIDOID}),
							  values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for temporary objects");
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	pawl_become_caller(&owner);
	return count;
}

static Jsonb *
run_as(Oid role, Oid function, const Run *run)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			saved_user;
	int			saved_context;
	Oid			saved_role = acting_role;
	bool		restricted = role != GetSessionUserId() || role != GetOuterUserId() || role != GetUserId();
	int			level = NewGUCNestLevel();
	Jsonb	   *volatile output = NULL;
	int64		temporary = restricted ? temporary_objects() : 0;

	GetUserIdAndSecContext(&saved_user, &saved_context);
	(void) set_config_option("search_path", run->search_path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (restricted)
		check_constraints_at_once();
	SetUserIdAndSecContext(role, (saved_context & SECURITY_RESTRICTED_OPERATION) | SECURITY_LOCAL_USERID_CHANGE
						   | (restricted ? SECURITY_RESTRICTED_OPERATION : 0));
	acting_role = role;
	PG_TRY();
	{
		output = call_function(function, run);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		acting_role = saved_role;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		/* A function cannot say that its worker is fenced, or cancelled: nobody would end the workflow. */
		if (error->sqlerrcode == ERRCODE_PAWL_FENCED || error->sqlerrcode == ERRCODE_PAWL_CANCELLED || error->sqlerrcode == ERRCODE_PAWL_UNKNOWN_WORKER)
		{
			FlushErrorState();
			error->sqlerrcode = ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
			ReThrowError(error);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	acting_role = saved_role;
	SetUserIdAndSecContext(saved_user, saved_context);
	/* As if it failed: what the function set is undone, and the search_path with it. */
	AtEOXact_GUC(false, level);
	if (restricted && temporary_objects() > temporary)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s left temporary objects", run->signature),
				 errdetail("It ran in the session of a worker, as another role."),
				 errhint("Make them in a schema, or drop them before the function returns.")));
	return output;
}

/* The end of the workflow, if it is still this worker's; otherwise what the function did is undone. */
static void
complete(Datum *fence, const Run *run, Jsonb *output)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[4] = {fence[0], fence[1], fence[2], JsonbPGetDatum(output)};
	char	   *refusal;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plan == NULL)
		plan = pawl_prepare("SELECT pawl.end_handler_run($1, $2, $3, $4)", 4, ((Oid[]) {UUIDOID, INT8OID, INT4OID, JSONBOID}));
	if (SPI_execute_plan(plan, values, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not end the workflow");
	refusal = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (refusal != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_FENCED),
				 errmsg("the fence of workflow \"%s\" is overtaken", text_to_cstring(run->workflow_id)),
				 errdetail("Another run of it has begun, or will, or it has ended."),
				 errhint("Roll back and stop: what is left to do, another worker does.")));
	SPI_finish();
}

/*
 * run_handler(worker_id uuid, workflow_key bigint, epoch integer) RETURNS text
 *
 * The fence is looked at before the function runs, so that nothing runs in vain, and locked after it: a lock held as long as the function runs would
 * hold up whoever has a signal for the workflow.
 */
PG_FUNCTION_INFO_V1(pawl_run_handler_1_0);
Datum
pawl_run_handler_1_0(PG_FUNCTION_ARGS)
{
	Datum		fence[3];
	Run			run = {0};
	PawlOwner	owner;
	Oid			function;
	Oid			role;
	Jsonb	   *output;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("worker_id, workflow_key and epoch must not be null"),
				 errdetail("They are the fence."),
				 errhint("Give what pawl.claim_workflows answered.")));
	PreventCommandIfReadOnly("run_handler()");
	for (int i = 0; i < 3; i++)
		fence[i] = PG_GETARG_DATUM(i);

	pawl_become_owner(&owner);
	if (!find_run(fence, &run))
	{
		pawl_become_caller(&owner);
		PG_RETURN_TEXT_P(cstring_to_text("fenced"));
	}
	if (run.cancel_reason != NULL)
	{
		pawl_become_caller(&owner);
		PG_RETURN_TEXT_P(cstring_to_text(psprintf("cancelled_%s", run.cancel_reason)));
	}
	if (run.signature == NULL)
	{
		hand_back(fence);
		pawl_become_caller(&owner);
		PG_RETURN_TEXT_P(cstring_to_text("fenced"));
	}
	function = resolve(&run, &role);
	pawl_become_caller(&owner);

	output = run_as(role, function, &run);

	pawl_become_owner(&owner);
	complete(fence, &run, output);
	pawl_become_caller(&owner);
	PG_RETURN_NULL();
}
