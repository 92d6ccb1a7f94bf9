/*
 * change_trigger.c
 *		enqueue_on_change: a row-level trigger that enqueues a workflow for each changed row.
 *
 * Everything of the row is converted here, as the caller: a cast or an output function of a user's type never runs with the owner's rights.
 * What goes on to the insert is finished text and jsonb.
 */
#include "enqueue.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

static const char *const settings[] = {
	"input", "columns", "workflow_id", "on_existing", "queue", "priority", "run_at", "delay", "timeout", "deduplication_id", "on_duplicate",
	"max_delay", "partition_key", "workflow_version", "headers", "attributes", "options", NULL
};

static void
refuse_event(TriggerData *trigger, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
			 errmsg("trigger \"%s\" cannot call pawl.enqueue_on_change", trigger->tg_trigger->tgname),
			 errdetail("%s", detail),
			 errhint("Make it with: CREATE TRIGGER … AFTER INSERT OR UPDATE OR DELETE ON … FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('workflow_name');")));
}

static void
refuse_setting(TriggerData *trigger, const char *message, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("trigger \"%s\" on \"%s\": %s", trigger->tg_trigger->tgname, RelationGetRelationName(trigger->tg_relation), message),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

static int
find_column(TriggerData *trigger, const char *name)
{
	int			number = SPI_fnumber(trigger->tg_relation->rd_att, name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("trigger \"%s\": table \"%s\" has no column \"%s\"", trigger->tg_trigger->tgname,
						RelationGetRelationName(trigger->tg_relation), pnstrdup(name, pg_mbcliplen(name, strlen(name), NAMEDATALEN))),
				 errdetail("An argument of the trigger names it."),
				 errhint("Write {column} with a column of the table, and {{ for a brace.")));
	return number;
}

static void
refuse_null(TriggerData *trigger, const char *column, const char *setting, const char *pattern)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("trigger \"%s\": column \"%s\" is null, and %s needs it", trigger->tg_trigger->tgname, column, setting),
			 errdetail("%s is \"%s\".", setting, pattern),
			 errhint("Give the column a value, or let the trigger fire only WHEN (NEW.%s IS NOT NULL).", quote_identifier(column))));
}

/* Fills {column} from the row. */
static char *
fill(TriggerData *trigger, HeapTuple row, const char *setting, const char *pattern)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = pattern; *p; p++)
	{
		const char *end;
		char	   *name;
		char	   *value;

		if (*p != '{' || p[1] == '{')
		{
			p += *p == '{';
			appendStringInfoChar(&out, *p);
			continue;
		}
		end = strchr(p, '}');
		if (end == NULL)
			refuse_setting(trigger, psprintf("%s has a { without a }", setting), psprintf("It is \"%s\".", pattern),
						   "Write {column}, and {{ for a brace.");
		name = pnstrdup(p + 1, end - p - 1);
		value = SPI_getvalue(row, trigger->tg_relation->rd_att, find_column(trigger, name));
		if (value == NULL)
			refuse_null(trigger, name, setting, pattern);
		appendStringInfoString(&out, value);
		p = end;
	}
	return out.data;
}

/* to_jsonb of a value of any type. */
Jsonb *
pawl_to_jsonb(Oid type, int32 typmod, Oid collation, Datum value)
{
	FmgrInfo	function;
	Const	   *argument = makeConst(type, typmod, collation, get_typlen(type), value, false, get_typbyval(type));

	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(argument), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), &function);
	return DatumGetJsonbP(FunctionCall1(&function, value));
}

static void
push(JsonbParseState **state, JsonbIteratorToken token, Jsonb *value)
{
	JsonbIterator *iterator = JsonbIteratorInit(&value->root);
	JsonbValue	v;
	JsonbIteratorToken t;

	if (JB_ROOT_IS_SCALAR(value))
	{
		(void) JsonbIteratorNext(&iterator, &v, false);
		(void) JsonbIteratorNext(&iterator, &v, false);
		(void) pushJsonbValue(state, token, &v);
		return;
	}
	while ((t = JsonbIteratorNext(&iterator, &v, false)) != WJB_DONE)
		(void) pushJsonbValue(state, t, t < WJB_BEGIN_ARRAY ? &v : NULL);
}

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	v = {.type = jbvString};

	v.val.string.val = unconstify(char *, key);
	v.val.string.len = strlen(key);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_string(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue	v = {.type = jbvString};

	push_key(state, key);
	v.val.string.val = unconstify(char *, value);
	v.val.string.len = strlen(value);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

/* The row as an object of its columns, or of the named ones; a NULL row as null. */
static Jsonb *
row_to_jsonb(TriggerData *trigger, HeapTuple row, List *columns)
{
	TupleDesc	descriptor = trigger->tg_relation->rd_att;
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 1; i <= descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i - 1);
		bool		isnull;
		Datum		value;

		if (attribute->attisdropped || (columns != NIL && !list_member_int(columns, i)))
			continue;
		value = heap_getattr(row, i, descriptor, &isnull);
		push_key(&state, NameStr(attribute->attname));
		if (isnull)
		{
			JsonbValue	null = {.type = jbvNull};

			(void) pushJsonbValue(&state, WJB_VALUE, &null);
		}
		else
			push(&state, WJB_VALUE, pawl_to_jsonb(attribute->atttypid, attribute->atttypmod, attribute->attcollation, value));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static Jsonb *
change_to_jsonb(TriggerData *trigger, HeapTuple new, HeapTuple old, List *columns)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "table", quote_qualified_identifier(get_namespace_name(RelationGetNamespace(trigger->tg_relation)),
														   RelationGetRelationName(trigger->tg_relation)));
	push_string(&state, "operation", TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? "INSERT" : TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? "DELETE"
				: "UPDATE");
	if (new != NULL)
	{
		push_key(&state, "new");
		push(&state, WJB_VALUE, row_to_jsonb(trigger, new, columns));
	}
	if (old != NULL)
	{
		push_key(&state, "old");
		push(&state, WJB_VALUE, row_to_jsonb(trigger, old, columns));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static List *
column_list(TriggerData *trigger, const char *value)
{
	List	   *columns = NIL;
	char	   *copy = pstrdup(value);
	char	   *rest = NULL;

	for (char *name = strtok_r(copy, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest))
	{
		while (*name == ' ')
			name++;
		for (char *end = name + strlen(name); end > name && end[-1] == ' ';)
			*--end = '\0';
		columns = lappend_int(columns, find_column(trigger, name));
	}
	if (columns == NIL)
		refuse_setting(trigger, "columns names no column", "It is empty.", "Write columns=a,b or leave it out.");
	return columns;
}

static int32
integer(const char *value)
{
	return DatumGetInt32(DirectFunctionCall1(int4in, CStringGetDatum(value)));
}

static Interval *
interval(const char *value)
{
	return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(value), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * headers and attributes: JSON, in whose strings {column} is filled. A string that is nothing but one {column} becomes the column's value as JSON:
 * a number stays a number. No value can break out of its string.
 */
static Jsonb *
document(TriggerData *trigger, HeapTuple row, const char *setting, const char *value)
{
	Jsonb	   *pattern = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));
	JsonbIterator *iterator = JsonbIteratorInit(&pattern->root);
	JsonbParseState *state = NULL;
	JsonbValue	v;
	JsonbValue *result = NULL;
	JsonbIteratorToken t;

	if (!JB_ROOT_IS_OBJECT(pattern))
		return pattern;
	while ((t = JsonbIteratorNext(&iterator, &v, false)) != WJB_DONE)
	{
		if (t >= WJB_BEGIN_ARRAY)
			result = pushJsonbValue(&state, t, NULL);
		else if (v.type != jbvString)
			result = pushJsonbValue(&state, t, &v);
		else
		{
			char	   *string = pnstrdup(v.val.string.val, v.val.string.len);
			char	   *end = strchr(string, '}');

			if (t != WJB_KEY && string[0] == '{' && string[1] != '{' && end != NULL && end[1] == '\0')
			{
				char	   *name = pnstrdup(string + 1, end - string - 1);
				Form_pg_attribute attribute = TupleDescAttr(trigger->tg_relation->rd_att, find_column(trigger, name) - 1);
				bool		isnull;
				Datum		datum = heap_getattr(row, attribute->attnum, trigger->tg_relation->rd_att, &isnull);

				if (isnull)
					refuse_null(trigger, name, setting, value);
				push(&state, t, pawl_to_jsonb(attribute->atttypid, attribute->atttypmod, attribute->attcollation, datum));
				continue;
			}
			v.val.string.val = fill(trigger, row, setting, string);
			v.val.string.len = strlen(v.val.string.val);
			result = pushJsonbValue(&state, t, &v);
		}
	}
	return JsonbValueToJsonb(result);
}

typedef struct SettingContext
{
	TriggerData *trigger;
	const char *setting;
} SettingContext;

/* Whose value a conversion failed for. */
static void
say_setting(void *argument)
{
	SettingContext *context = argument;

	if (context->setting != NULL)
		errcontext("argument \"%s\" of trigger \"%s\" on \"%s\"", context->setting, context->trigger->tg_trigger->tgname,
				   RelationGetRelationName(context->trigger->tg_relation));
}

/* enqueue_on_change() RETURNS trigger; SECURITY INVOKER */
PG_FUNCTION_INFO_V1(pawl_enqueue_on_change_1_0);
Datum
pawl_enqueue_on_change_1_0(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	EnqueueRequest request = {0};
	HeapTuple	new = NULL;
	HeapTuple	old = NULL;
	HeapTuple	row;
	List	   *columns = NIL;
	bool		whole_change = false;
	TimestampTz run_at = 0;
	bool		has_run_at = false;
	Interval   *delay = NULL;
	int64		key_of_row;
	uint32		given = 0;
	SettingContext where = {trigger, NULL};
	ErrorContextCallback callback = {error_context_stack, say_setting, &where};

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("pawl.enqueue_on_change can only be called by a trigger"),
				 errhint("Call pawl.enqueue_workflow instead.")));
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		refuse_event(trigger, "It fires for each statement; a workflow is about one row.");
	if (!TRIGGER_FIRED_AFTER(trigger->tg_event))
		refuse_event(trigger, "It fires before the change, which another trigger may still alter.");
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		new = trigger->tg_trigtuple;
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		old = trigger->tg_trigtuple;
	else
	{
		new = trigger->tg_newtuple;
		old = trigger->tg_trigtuple;
	}
	row = new != NULL ? new : old;
	if (trigger->tg_trigger->tgnargs < 1 || trigger->tg_trigger->tgargs[0][0] == '\0')
		refuse_setting(trigger, "no workflow_name is given", "It is the first argument of the trigger function.",
					   "Write EXECUTE FUNCTION pawl.enqueue_on_change('workflow_name', 'queue=…', …).");

	request.workflow_name = trigger->tg_trigger->tgargs[0];
	request.queue = "default";
	/* A trigger enqueues with its table owner's right, which PostgreSQL asked for when the trigger was made, and which may be gone since. */
	request.role = trigger->tg_relation->rd_rel->relowner;
	if (object_aclcheck(ProcedureRelationId, fcinfo->flinfo->fn_oid, request.role, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_NO_ACCESS),
				 errmsg("role %s may not enqueue", pawl_user_name(request.role)),
				 errdetail("Trigger \"%s\" enqueues with the right of the role that owns table \"%s\".", trigger->tg_trigger->tgname,
						   RelationGetRelationName(trigger->tg_relation)),
				 errhint("Grant it with: SELECT pawl.grant_access(%s, 'enqueue', workflow_name => %s);",
						 quote_literal_cstr(pawl_user_name(request.role)), quote_literal_cstr(request.workflow_name))));
	error_context_stack = &callback;
	for (int i = 1; i < trigger->tg_trigger->tgnargs; i++)
	{
		const char *argument = trigger->tg_trigger->tgargs[i];
		const char *equals = strchr(argument, '=');
		char	   *key = equals == NULL ? pstrdup(argument) : pnstrdup(argument, equals - argument);
		char	   *value;
		bool		known = false;

		for (int s = 0; settings[s] != NULL; s++)
			if (strcmp(key, settings[s]) == 0)
			{
				if (given & (1U << s))
					refuse_setting(trigger, psprintf("argument \"%s\" is given twice", key), "Each has one value.", "Leave one of them out.");
				known = true;
				given |= 1U << s;
				where.setting = settings[s];
			}
		if (equals == NULL || !known)
			refuse_setting(trigger, psprintf(known ? "argument \"%s\" has no value" : "unknown argument \"%s\"",
											 pnstrdup(key, pg_mbcliplen(key, strlen(key), 64))),
						   "Arguments after the workflow_name are key=value.",
						   psprintf(known ? "Write '%s=…'." : "Perhaps you meant '%s=…'.", known ? key : pawl_nearest(key, settings)));
		if (strcmp(key, "headers") == 0)
		{
			request.headers = document(trigger, row, key, equals + 1);
			continue;
		}
		if (strcmp(key, "attributes") == 0)
		{
			request.attributes = document(trigger, row, key, equals + 1);
			continue;
		}
		value = strcmp(key, "options") == 0 ? NULL : fill(trigger, row, key, equals + 1);
		if (strcmp(key, "input") == 0)
		{
			if (strcmp(value, "row") != 0 && strcmp(value, "change") != 0)
				refuse_setting(trigger, "input is neither row nor change", psprintf("It is \"%s\".", value),
							   "row: the row; change: {\"table\", \"operation\", \"new\", \"old\"}.");
			whole_change = strcmp(value, "change") == 0;
		}
		else if (strcmp(key, "columns") == 0)
			columns = column_list(trigger, value);
		else if (strcmp(key, "workflow_id") == 0)
			request.workflow_id = cstring_to_text(value);
		else if (strcmp(key, "on_existing") == 0)
			request.on_existing = pawl_on_conflict(key, value);
		else if (strcmp(key, "queue") == 0)
			request.queue = value;
		else if (strcmp(key, "priority") == 0)
			request.priority = integer(value);
		else if (strcmp(key, "run_at") == 0)
		{
			run_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(value), ObjectIdGetDatum(InvalidOid),
															 Int32GetDatum(-1)));
			has_run_at = true;
		}
		else if (strcmp(key, "delay") == 0)
			delay = interval(value);
		else if (strcmp(key, "timeout") == 0)
			request.timeout = interval(value);
		else if (strcmp(key, "deduplication_id") == 0)
			request.deduplication_id = cstring_to_text(value);
		else if (strcmp(key, "on_duplicate") == 0)
			request.on_duplicate = pawl_on_conflict(key, value);
		else if (strcmp(key, "partition_key") == 0)
			request.partition_key = cstring_to_text(value);
		else if (strcmp(key, "workflow_version") == 0)
		{
			request.pinned = true;
			request.workflow_version = integer(value);
		}
		else if (strcmp(key, "max_delay") == 0)
			request.max_delay = interval(value);
		else
			pawl_check_options(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(equals + 1))), settings);
	}
	where.setting = NULL;
	pawl_start_time(&request, has_run_at ? &run_at : NULL, delay);
	request.input = whole_change ? change_to_jsonb(trigger, new, old, columns) : row_to_jsonb(trigger, row, columns);

	(void) pawl_enqueue(&request, &key_of_row);
	error_context_stack = callback.previous;
	return PointerGetDatum(NULL);
}
