/*
 * cron.c
 *		Cron text, and the instants that it means in a time zone.
 *
 * Local time is not a line: in spring some of it is left out, in autumn some of it comes twice.  Between two changes of the clock local time is an
 * instant plus an offset, so the search goes from one such segment to the next, and field by field within each.
 */
#include "pawl.h"

#include "pgtime.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/tuplestore.h"

#define MAX_TEXT 256
#define MAX_YEARS 100			/* a 29 February that is a given weekday comes within 40 */
#define EPOCH_SECONDS ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

enum
{
	CRON_SECOND,
	CRON_MINUTE,
	CRON_HOUR,
	CRON_DAY,
	CRON_MONTH,
	CRON_WEEKDAY,
	CRON_FIELDS
};

static const char *const month_words[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_words[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct
{
	const char *name;
	int			low;
	int			high;
	const char *const *words;	/* the first is `low` */
	const char *holds;
}			fields[CRON_FIELDS] = {
	{"second", 0, 59, NULL, "0 to 59"},
	{"minute", 0, 59, NULL, "0 to 59"},
	{"hour", 0, 23, NULL, "0 to 23"},
	{"day of month", 1, 31, NULL, "1 to 31"},
	{"month", 1, 12, month_words, "1 to 12 or JAN to DEC"},
	{"day of week", 0, 7, weekday_words, "0 to 7 (0 and 7 are Sunday) or SUN to SAT"},
};

static const char *const nicknames[] = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", NULL};
static const char *const nickname_texts[] = {"0 0 1 1 *", "0 0 1 1 *", "0 0 1 * *", "0 0 * * 0", "0 0 * * *", "0 0 * * *", "0 * * * *"};

typedef struct Cron
{
	uint64		sets[CRON_FIELDS];	/* bit n: the field matches n */
	bool		either_day;		/* day of month and day of week are both restricted: one of them is enough */
	bool		every_hour;		/* goes by the time that passes, not by what the clock shows */
} Cron;

/* What the error of a field needs. */
typedef struct Place
{
	const char *text;			/* the whole cron text */
	const char *value;			/* the field */
	int			number;			/* as people count */
	int			field;
} Place;

static void
refuse_field(const Place *place, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the %s of the cron text is wrong: \"%s\"", fields[place->field].name, place->value),
			 errdetail("Field %d of \"%s\": %s.", place->number, place->text, why),
			 errhint("It may hold %s: one value, a range (%d-%d), a list (%d,%d), * for all of them, and steps of * or a range (*/2).",
					 fields[place->field].holds, fields[place->field].low, fields[place->field].low + 4, fields[place->field].low,
					 fields[place->field].low + 2)));
}

static int
parse_number(const char **at, const Place *place)
{
	const char *from = *at;
	int			value = 0;

	while (**at >= '0' && **at <= '9' && *at - from < 4)
		value = value * 10 + *(*at)++ - '0';
	if (*at == from || (**at >= '0' && **at <= '9'))
		refuse_field(place, *from == '\0' || *from == ',' ? "a value is missing" : psprintf("\"%s\" is no number that it may hold", from));
	return value;
}

/* A number or a name. */
static int
parse_value(const char **at, const Place *place)
{
	const char *const *words = fields[place->field].words;
	int			value;

	for (int i = 0; words != NULL && words[i] != NULL; i++)
		if (pg_strncasecmp(*at, words[i], 3) == 0)
		{
			*at += 3;
			return fields[place->field].low + i;
		}
	value = parse_number(at, place);
	if (value < fields[place->field].low || value > fields[place->field].high)
		refuse_field(place, psprintf("%d is not between %d and %d", value, fields[place->field].low, fields[place->field].high));
	return value;
}

/* A list of values, ranges and steps. */
static uint64
parse_field(const Place *place)
{
	const char *at = place->value;
	int			low = fields[place->field].low;
	int			high = fields[place->field].high;
	uint64		set = 0;

	for (;;)
	{
		int			from = low;
		int			to = place->field == CRON_WEEKDAY ? 6 : high;
		int			step = 1;
		bool		range = true;

		if (*at == '*')
			at++;
		else
		{
			from = to = parse_value(&at, place);
			range = *at == '-';
			if (range)
			{
				at++;
				to = parse_value(&at, place);
				/* SAT-SUN */
				if (place->field == CRON_WEEKDAY && to == 0 && from > 0)
					to = 7;
				if (to < from)
					refuse_field(place, psprintf("a range goes from the lower value to the higher, not from %d to %d", from, to));
			}
		}
		if (*at == '/')
		{
			if (!range)
				refuse_field(place, psprintf("a step needs * or a range before it, like %d-%d", from, high));
			at++;
			step = parse_number(&at, place);
			if (step < 1 || step > high)
				refuse_field(place, psprintf("a step of %d is not between 1 and %d", step, high));
		}
		for (int value = from; value <= to; value += step)
			set |= UINT64CONST(1) << value;
		if (*at == '\0')
			break;
		if (*at != ',')
			refuse_field(place, psprintf("\"%s\" is not understood", at));
		at++;
	}
	if (place->field == CRON_WEEKDAY && (set & (1 << 7)))
		set = (set | 1) & ~(UINT64CONST(1) << 7);
	return set;
}

static void
parse_cron(const char *text, Cron *cron)
{
	char	   *copy;
	char	   *rest;
	char	   *values[CRON_FIELDS];
	int			count = 0;
	int			days = 0;		/* of the longest month that matches */

	pawl_check_name("cron", text, MAX_TEXT);
	copy = pstrdup(text);
	if (*text == '@')
	{
		int			i = 0;

		while (nicknames[i] != NULL && pg_strcasecmp(text, nicknames[i]) != 0)
			i++;
		if (nicknames[i] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cron text \"%s\" is not known", text),
					 errdetail("There are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly."),
					 errhint("Perhaps you meant %s.", pawl_nearest(text, nicknames))));
		copy = pstrdup(nickname_texts[i]);
	}
	rest = copy;
	for (char *value; (value = strtok_r(rest, " \t\r\n", &rest)) != NULL; count++)
		if (count < CRON_FIELDS)
			values[count] = value;
	if (count != CRON_FIELDS - 1 && count != CRON_FIELDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_plural("cron text has %d field", "cron text has %d fields", count, count),
				 errdetail("It is \"%s\".", text),
				 errhint("Give 5 fields: minute, hour, day of month, month, day of week; or 6, with the second before them.")));

	cron->sets[CRON_SECOND] = 1;
	for (int i = 0; i < count; i++)
	{
		Place		place = {text, values[i], i + 1, i + CRON_FIELDS - count};

		cron->sets[place.field] = parse_field(&place);
	}
	/* As cron has always read it: what begins with * is no restriction, and then both must match. */
	cron->either_day = *values[count - 1] != '*' && *values[count - 3] != '*';
	cron->every_hour = cron->sets[CRON_HOUR] == (UINT64CONST(1) << 24) - 1;

	for (int month = 1; month <= 12; month++)
		if (cron->sets[CRON_MONTH] & (UINT64CONST(1) << month))
			days = Max(days, day_tab[1][month - 1]);
	if (!cron->either_day && pg_rightmost_one_pos64(cron->sets[CRON_DAY]) > days)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cron text \"%s\" never matches", text),
				 errdetail("Field %d (day of month) is \"%s\", and the months of field %d have at most %d days.", count - 2, values[count - 3], count - 1,
						   days),
				 errhint("Give a day that one of these months has.")));
}

/* The lowest member that is not less; -1: none. */
static int
at_least(uint64 set, int value)
{
	set &= ~UINT64CONST(0) << value;
	return set == 0 ? -1 : pg_rightmost_one_pos64(set);
}

/* The first matching second of a day from that one on; -1: none. */
static int
next_second_of_day(const Cron *cron, int from)
{
	int			hour = at_least(cron->sets[CRON_HOUR], from / SECS_PER_HOUR);
	int			minute = at_least(cron->sets[CRON_MINUTE], 0);
	int			second = at_least(cron->sets[CRON_SECOND], 0);

	if (hour == from / SECS_PER_HOUR)
	{
		int			same_minute = from / SECS_PER_MINUTE % MINS_PER_HOUR;
		int			same_second = at_least(cron->sets[CRON_SECOND], from % SECS_PER_MINUTE);

		minute = at_least(cron->sets[CRON_MINUTE], same_minute);
		if (minute == same_minute && same_second >= 0)
			second = same_second;
		else if (minute == same_minute)
			minute = at_least(cron->sets[CRON_MINUTE], same_minute + 1);
		if (minute < 0)
		{
			hour = at_least(cron->sets[CRON_HOUR], hour + 1);
			minute = at_least(cron->sets[CRON_MINUTE], 0);
		}
	}
	return hour < 0 ? -1 : (hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second;
}

static bool
matches_day(const Cron *cron, int julian, int day)
{
	bool		of_month = (cron->sets[CRON_DAY] >> day) & 1;
	bool		of_week = (cron->sets[CRON_WEEKDAY] >> j2day(julian)) & 1;

	return cron->either_day ? of_month || of_week : of_month && of_week;
}

/* The first matching local time from that one on, in seconds of a calendar without zones. */
static bool
next_local_time(const Cron *cron, int64 from, int64 *found)
{
	int64		days = from / SECS_PER_DAY - (from % SECS_PER_DAY < 0);
	int			second = from - days * SECS_PER_DAY;
	int			julian = days + UNIX_EPOCH_JDATE;
	int			last_year = 0;

	for (;;)
	{
		int			year;
		int			month;
		int			day;
		int			match;

		j2date(julian, &year, &month, &day);
		if (last_year == 0)
			last_year = year + MAX_YEARS;
		if (year > last_year)
			return false;
		if (!((cron->sets[CRON_MONTH] >> month) & 1))
			julian = month == 12 ? date2j(year + 1, 1, 1) : date2j(year, month + 1, 1);
		else if (matches_day(cron, julian, day) && (match = next_second_of_day(cron, second)) >= 0)
		{
			*found = (int64) (julian - UNIX_EPOCH_JDATE) * SECS_PER_DAY + match;
			return true;
		}
		else
			julian++;
		second = 0;
	}
}

/*
 * The first instant after that one.  Fixed hours follow the clock on the wall, each of its times once: those that a change of the clock leaves out
 * are due, together, at the change; those that come twice, the first time.  Every hour follows the time that passes: it neither makes up for
 * an hour that never was nor leaves out the second of two that were.
 */
static bool
next_instant(const Cron *cron, const pg_tz *zone, pg_time_t after, pg_time_t *found)
{
	/* No clock is put back by more: local times before that of `covered` are over. */
	pg_time_t	at = after - 2 * SECS_PER_DAY;
	int64		covered = PG_INT64_MIN;

	for (;;)
	{
		long		offset;
		long		next_offset;
		int			unused;
		pg_time_t	change;
		int			changes = pg_next_dst_boundary(&at, &offset, &unused, &change, &next_offset, &unused, zone);
		int64		from = at + offset;
		int64		match;

		if (changes < 0)
			return false;
		if (!cron->every_hour && covered != PG_INT64_MIN)
		{
			if (at > after && covered < from && next_local_time(cron, covered, &match) && match < from)
			{
				*found = at;
				return true;
			}
			from = Max(from, covered);
		}
		if (after >= at)
			from = Max(from, after + 1 + offset);
		if (!next_local_time(cron, from, &match))
			return false;
		if (changes == 0 || match - offset < change)
		{
			*found = match - offset;
			return true;
		}
		covered = Max(covered, change + offset);
		at = change;
	}
}

static const pg_tz *
find_zone(const char *name)
{
	pg_tz	   *zone;

	pawl_check_name("timezone", name, MAX_TEXT);
	/* +5 is understood too, as five hours west of Greenwich. */
	zone = isalpha((unsigned char) *name) ? pg_tzset(name) : NULL;
	if (zone == NULL || !pg_tz_acceptable(zone))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" is not known", name),
				 errdetail("A schedule needs the full name of a zone, which knows when its clocks change."),
				 errhint("Give one like Europe/Berlin: SELECT name FROM pg_timezone_names lists them.")));
	return zone;
}

/* What both functions begin with.  False: there is no instant after an infinite time. */
static bool
begin(FunctionCallInfo fcinfo, Cron *cron, const pg_tz **zone, pg_time_t *after)
{
	TimestampTz time = PG_GETARG_TIMESTAMPTZ(2);

	parse_cron(text_to_cstring(PG_GETARG_TEXT_PP(0)), cron);
	*zone = find_zone(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	*after = timestamptz_to_time_t(time);
	/* It rounds towards 2000. */
	if (time < 0 && time % USECS_PER_SEC != 0)
		(*after)--;
	return !TIMESTAMP_NOT_FINITE(time);
}

/* The same as a timestamptz; false: there is none, or none that a timestamptz can hold. */
static bool
next_timestamp(const Cron *cron, const pg_tz *zone, pg_time_t *time, TimestampTz *found)
{
	if (!next_instant(cron, zone, *time, time))
		return false;
	*found = (*time - EPOCH_SECONDS) * USECS_PER_SEC;
	return *time < END_TIMESTAMP / USECS_PER_SEC + EPOCH_SECONDS;
}

/* next_instant(cron text, timezone text, after timestamptz) RETURNS timestamptz */
PG_FUNCTION_INFO_V1(pawl_next_instant_1_0);
Datum
pawl_next_instant_1_0(PG_FUNCTION_ARGS)
{
	Cron		cron;
	const pg_tz *zone;
	pg_time_t	time;
	TimestampTz found;

	if (!begin(fcinfo, &cron, &zone, &time) || !next_timestamp(&cron, zone, &time, &found))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(found);
}

/* instants(cron text, timezone text, after timestamptz, until timestamptz, max_instants integer) RETURNS SETOF timestamptz */
PG_FUNCTION_INFO_V1(pawl_instants_1_0);
Datum
pawl_instants_1_0(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz until = PG_GETARG_TIMESTAMPTZ(3);
	int32		left = PG_GETARG_INT32(4);
	Cron		cron;
	const pg_tz *zone;
	pg_time_t	time;
	TimestampTz found;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!begin(fcinfo, &cron, &zone, &time))
		return (Datum) 0;
	while (left-- > 0 && next_timestamp(&cron, zone, &time, &found) && found <= until)
	{
		Datum		value = TimestampTzGetDatum(found);
		bool		isnull = false;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}
