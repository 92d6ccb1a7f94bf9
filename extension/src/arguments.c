/*
 * arguments.c
 *		Checks of what callers give. Each raises 22023 and says what was given and what to give instead; nothing is written before.
 */
#include "pawl.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

void
pawl_check_name(const char *argument, const char *value, int max_bytes)
{
	if (value == NULL || *value == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be %s", argument, value == NULL ? "null" : "empty"),
				 errdetail("It names something, and nothing is named so."),
				 errhint("Give a text of 1 to %d bytes.", max_bytes)));
	if (strlen(value) > max_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", argument),
				 errdetail("It has %zu bytes: \"%s…\".", strlen(value), pnstrdup(value, pg_mbcliplen(value, strlen(value), 40))),
				 errhint("Give a text of 1 to %d bytes.", max_bytes)));
}

/*
 * Refuses numbers that are small only as long as nobody writes them out: 1e131071 has ten bytes and 131,072 digits, so that a few thousand of them
 * make a value that no claim could send.  Counts no further than the limit.
 */
static void
check_numbers(const char *argument, Jsonb *value, int64 limit)
{
	JsonbIterator *iterator = JsonbIteratorInit(&value->root);
	JsonbIteratorToken token;
	JsonbValue	part;
	int64		characters = 0;

	while ((token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
	{
		char	   *text;

		if ((token != WJB_VALUE && token != WJB_ELEM) || part.type != jbvNumeric)
			continue;
		text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(part.val.numeric)));
		characters += strlen(text);
		pfree(text);
		if (characters > limit)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s is too large", argument),
					 errdetail("Its numbers, written out, have more than " INT64_FORMAT " digits.", limit),
					 errhint("A number like 1e131071 is short, and its digits are not: give it as a string.")));
	}
}

/* headers and attributes */
void
pawl_check_document(const char *argument, Jsonb *value)
{
	if (value == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", argument),
				 errdetail("It is a JSON %s.", JB_ROOT_IS_SCALAR(value) ? "scalar" : "array"),
				 errhint("Give an object like {\"key\": \"value\"}, or NULL.")));
	if (VARSIZE(value) > PAWL_MAX_DOCUMENT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too large", argument),
				 errdetail("It has %d bytes as jsonb.", (int) VARSIZE(value)),
				 errhint("Give at most %d bytes; what is larger belongs in input.", PAWL_MAX_DOCUMENT)));
	check_numbers(argument, value, PAWL_MAX_DOCUMENT);
}

void
pawl_check_payload(const char *argument, Jsonb *value)
{
	int			bytes;

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be null", argument),
				 errdetail("An SQL NULL is no JSON value."),
				 strcmp(argument, "input") == 0 ? errhint("Leave it out for {}, or give 'null'::jsonb.") : errhint("Give 'null'::jsonb.")));
	check_numbers(argument, value, pawl_max_payload);
	/* But for its numbers, a value has as text at most six times the bytes that it has as jsonb. */
	if (VARSIZE(value) <= pawl_max_payload / 6)
		return;
	bytes = strlen(JsonbToCString(NULL, &value->root, VARSIZE(value)));
	if (bytes > pawl_max_payload)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too large", argument),
				 errdetail("It has %d bytes; pawl.max_payload is %d.", bytes, pawl_max_payload),
				 errhint("Store it elsewhere and give where, or raise pawl.max_payload.")));
}

/* check_payload(argument text, value jsonb) RETURNS void */
PG_FUNCTION_INFO_V1(pawl_check_payload_1_0);
Datum
pawl_check_payload_1_0(PG_FUNCTION_ARGS)
{
	pawl_check_payload(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
	PG_RETURN_VOID();
}

/* check_document(argument text, value jsonb) RETURNS void */
PG_FUNCTION_INFO_V1(pawl_check_document_1_0);
Datum
pawl_check_document_1_0(PG_FUNCTION_ARGS)
{
	pawl_check_document(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
	PG_RETURN_VOID();
}

static int
distance(const char *a, const char *b)
{
	int			m = Min(strlen(a), 64);
	int			n = Min(strlen(b), 64);
	int			above[65];
	int			line[65];

	for (int j = 0; j <= n; j++)
		above[j] = j;
	for (int i = 1; i <= m; i++)
	{
		line[0] = i;
		for (int j = 1; j <= n; j++)
			line[j] = Min(Min(above[j] + 1, line[j - 1] + 1), above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
		memcpy(above, line, sizeof(int) * (n + 1));
	}
	return above[n];
}

/* The candidate that a misspelt word most likely meant; the list ends with NULL. */
const char *
pawl_nearest(const char *word, const char *const *candidates)
{
	const char *best = NULL;
	int			least = 0;

	for (; *candidates != NULL; candidates++)
	{
		int			d = distance(word, *candidates);

		if (best == NULL || d < least)
		{
			best = *candidates;
			least = d;
		}
	}
	return best;
}

/* The same, but NULL if not even that one is like it. */
const char *
pawl_near(const char *word, const char *const *candidates)
{
	const char *best = pawl_nearest(word, candidates);

	return best != NULL && distance(word, best) <= Max(1, (int) strlen(word) / 3) ? best : NULL;
}

/* There are no options yet: every key is unknown, and perhaps one of the arguments was meant. */
void
pawl_check_options(Jsonb *options, const char *const *arguments)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	char	   *key;

	if (options == NULL)
		return;
	pawl_check_document("options", options);
	iterator = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&iterator, &value, true);
	if (JsonbIteratorNext(&iterator, &value, true) != WJB_KEY)
		return;
	key = pnstrdup(value.val.string.val, pg_mbcliplen(value.val.string.val, value.val.string.len, 64));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", key),
			 errdetail("This function has no options yet."),
			 errhint("Perhaps you meant the argument %s.", pawl_nearest(key, arguments))));
}

/* A UUID of version 7: sorted by time, so that the index of ids grows at its end. */
text *
pawl_make_uuid7(void)
{
	pg_uuid_t	uuid;
	int64		now = GetCurrentTimestamp() + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	int64		milliseconds = now / 1000;
	int			fraction = (now % 1000) * 4096 / 1000;

	if (!pg_strong_random(uuid.data + 8, 8))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	for (int i = 0; i < 6; i++)
		uuid.data[i] = milliseconds >> (40 - 8 * i);
	uuid.data[6] = 0x70 | (fraction >> 8);
	uuid.data[7] = fraction;
	uuid.data[8] = (uuid.data[8] & 0x3f) | 0x80;
	return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&uuid))));
}

/* make_workflow_id() RETURNS text: for workflows that SQL inserts. */
PG_FUNCTION_INFO_V1(pawl_make_workflow_id_1_0);
Datum
pawl_make_workflow_id_1_0(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(pawl_make_uuid7());
}
