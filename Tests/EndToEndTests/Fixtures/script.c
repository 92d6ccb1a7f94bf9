/*
 * script.c: a handler that does what its input says, so that a test and its workflow stand side by side.
 *
 * The input is a JSON text of lines; the output is an array of what each line answered. Each run, and each branch of it, has a thread of its own.
 *
 *   step NAME [OPTION…]             a step; its value is its attempt. Options: fail=N (the first N attempts fail), final (and for good), retry=N[,INITIAL,MAX] (µs),
 *                                   timeout=µs (of an attempt), total=µs, slow (runs until its time is up or the workflow is cancelled), gate (waits at the gate
 *                                   ID-NAME), kill (of the process), stream=KEY (writes its attempt to that stream), value=JSON
 *   sql NAME SQL                    a transaction with one statement, $1 is the workflow's id; NAME may be NAME[OPTION,…] with retry=
 *   query NAME SQL                  a query without parameters
 *   call KIND NAME JSON             a durable call
 *   race NAME INDEX VALUE JSON      the call race, to which that alternative is then offered
 *   emit KIND JSON
 *   undo NAME [OPTION…]             registers the step NAME as a compensation
 *   parallel / end                  what stands between runs at once, each line in a branch of its own; ` ;; ` stands between the lines of one branch
 *   times N / end                   N times, one after the other; answers only how often
 *   fail CODE · finish JSON · continue JSON · info · cancelled · gate
 *   try LINE                        a failure is an answer, as {"error": code}, and the script goes on
 *   swallow                         from here on everything is: also that the run is cancelled or over
 *   block                           as the first line: the delivery thread itself waits at the gate
 *
 * Needs -D_GNU_SOURCE; NAME and VERSION say what is registered. %id is the workflow's id, %i the number of the round, %% is a %. Each execution of a body appends "ID NAME ATTEMPT" to the file `effects` in $PAWL_TEST_GATES.
 * A gate is a pair of files there: the handler makes GATE.reached and goes on once GATE.open is there.
 */
#include <pawl_plugin.h>

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

PAWL_PLUGIN_NOTE("c");

#ifndef NAME
#define NAME "script"
#endif
#ifndef VERSION
#define VERSION 1
#endif

enum { SCOPES = 256, COMPENSATIONS = 32 };

static const pawl_host *host;

/* ---- texts */

typedef struct {
    char *data;
    size_t size, capacity;
} text;

static void append(text *t, const void *bytes, size_t size)
{
    if (t->size + size + 1 > t->capacity)
        t->data = realloc(t->data, t->capacity = 2 * (t->size + size + 1));
    memcpy(t->data + t->size, bytes, size);
    t->data[t->size += size] = '\0';
}

__attribute__((format(printf, 2, 3))) static void print(text *t, const char *format, ...)
{
    char piece[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    append(t, piece, strlen(piece));
}

static pawl_bytes bytes(const char *s)
{
    return (pawl_bytes){s, s == NULL ? 0 : strlen(s)};
}

static char *copied(pawl_bytes b)
{
    char *s = malloc(b.size + 1);

    if (b.size > 0)
        memcpy(s, b.data, b.size);
    s[b.size] = '\0';
    return s;
}

/* The next word, cut off; `rest` goes on after it. */
static char *word(char **rest)
{
    char *start = *rest + strspn(*rest, " ");
    char *end = start + strcspn(start, " ");

    *rest = *end == '\0' ? end : end + 1;
    *end = '\0';
    return start;
}

/* ---- a run */

typedef struct {
    pawl_run *run;
    atomic_int owners; /* the thread, and the host until release */
    atomic_int reason; /* of the interruption, or 0 */
    atomic_bool timed_out[SCOPES];
    bool swallows;
    char *id;
    char *script;
    int version, recoveries, attempt, priority;
    int64_t deadline_at;
    char *parent;
    char *compensations[COMPENSATIONS];
    int compensation_count;
} execution;

/* What a call answered. */
typedef struct {
    sem_t arrived;
    pawl_status status;
    char *value, *code, *type, *message, *detail, *step, *cause;
    int32_t attempt;
} answer;

/* One sequential branch. */
typedef struct {
    execution *e;
    pawl_scope scope;
    char *lines; /* of a branch: separated by newlines */
    text answers;
    int round;
    bool ended; /* finished, or failed: no line is run any more */
    pawl_status status;
    answer failure;
    char *output;
    pthread_t thread;
} flow;

static void arrive(void *context, const pawl_result *result)
{
    answer *a = context;

    a->status = result->status;
    a->value = result->value.data == NULL ? NULL : copied(result->value);
    if (result->error != NULL)
    {
        a->code = copied(result->error->code);
        a->type = copied(result->error->type);
        a->message = copied(result->error->message);
        a->detail = result->error->detail.data == NULL ? NULL : copied(result->error->detail);
        a->step = result->error->step.data == NULL ? NULL : copied(result->error->step);
        a->cause = result->error->cause.data == NULL ? NULL : copied(result->error->cause);
        a->attempt = result->error->attempt;
    }
    sem_post(&a->arrived);
}

static void forget(answer *a)
{
    free(a->value), free(a->code), free(a->type), free(a->message), free(a->detail), free(a->step), free(a->cause);
    a->value = a->code = a->type = a->message = a->detail = a->step = a->cause = NULL;
}

static void expect(answer *a)
{
    memset(a, 0, sizeof *a);
    sem_init(&a->arrived, 0, 0);
}

static void await(answer *a)
{
    while (sem_wait(&a->arrived) != 0) {}
}

static pawl_error error_of(const answer *a)
{
    return (pawl_error){
        .size = sizeof(pawl_error), .code = bytes(a->code), .type = bytes(a->type), .message = bytes(a->message), .detail = bytes(a->detail),
        .step = bytes(a->step), .cause = bytes(a->cause), .attempt = a->attempt};
}

static char *path(const char *name, const char *suffix)
{
    char *p;

    return asprintf(&p, "%s/%s%s", getenv("PAWL_TEST_GATES"), name, suffix) < 0 ? NULL : p;
}

static void doze(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void wait_at_gate(const char *gate)
{
    char *reached = path(gate, ".reached"), *open = path(gate, ".open");

    fclose(fopen(reached, "w"));
    while (access(open, F_OK) != 0)
        doze();
    free(reached), free(open);
}

static void note_effect(const execution *e, const char *name, int attempt)
{
    text line = {0};
    char *file = path("effects", "");
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);

    print(&line, "%s %s %d\n", e->id, name, attempt);
    if (write(fd, line.data, line.size) < 0)
        abort();
    close(fd);
    free(line.data), free(file);
}

/* ---- what a line does; each leaves its answer */

typedef struct {
    int fail, attempts;
    long long initial, maximum, timeout, total;
    bool final, slow, gate, kill;
    const char *stream, *value;
} options;

static options parse(char *rest)
{
    options o = {0};

    while (*rest != '\0')
    {
        char *w = word(&rest);

        if (sscanf(w, "fail=%d", &o.fail) == 1 || sscanf(w, "retry=%d,%lld,%lld", &o.attempts, &o.initial, &o.maximum) >= 1
            || sscanf(w, "timeout=%lld", &o.timeout) == 1 || sscanf(w, "total=%lld", &o.total) == 1)
            continue;
        if (strcmp(w, "final") == 0) o.final = true;
        else if (strcmp(w, "slow") == 0) o.slow = true;
        else if (strcmp(w, "gate") == 0) o.gate = true;
        else if (strcmp(w, "kill") == 0) o.kill = true;
        else if (strncmp(w, "stream=", 7) == 0) o.stream = w + 7;
        else if (strncmp(w, "value=", 6) == 0) o.value = w + 6;
    }
    return o;
}

static pawl_retry policy(const options *o)
{
    return (pawl_retry){
        .size = sizeof(pawl_retry), .max_attempts = o->attempts, .initial_interval = o->initial, .maximum_interval = o->maximum,
        .attempt_timeout = o->timeout, .timeout = o->total};
}

static void run_step(flow *f, const char *name, char *rest, uint32_t flags, answer *a)
{
    execution *e = f->e;
    options o = parse(rest);
    pawl_retry retry = policy(&o);
    pawl_step_options step = {.size = sizeof step, .flags = flags, .retry = &retry};
    pawl_status status;

    expect(a);
    atomic_store(&e->timed_out[f->scope % SCOPES], false);
    status = host->step_begin(e->run, f->scope, bytes(name), &step, arrive, a);
    if (status == PAWL_PENDING)
    {
        await(a);
        status = a->status;
    }
    while (status == PAWL_EXECUTE || status == PAWL_RETRY)
    {
        int attempt = host->attempt(e->run, f->scope);
        pawl_error error = {.size = sizeof error, .flags = o.final ? PAWL_ERROR_FINAL : 0, .code = PAWL_TEXT("asked"), .message = PAWL_TEXT("as asked")};
        char number[24];
        pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK};

        note_effect(e, name, attempt);
        if (o.kill)
            raise(SIGKILL);
        if (o.stream != NULL)
        {
            text entry = {0};
            answer written;

            expect(&written);
            print(&entry, "{\"key\": \"%s\", \"value\": %d}", o.stream, attempt);
            host->emit(e->run, f->scope, PAWL_TEXT("stream"), (pawl_bytes){entry.data, entry.size}, arrive, &written);
            await(&written);
            forget(&written);
            free(entry.data);
        }
        if (o.gate)
        {
            text gate = {0};

            print(&gate, "%s-%s", e->id, name);
            wait_at_gate(gate.data);
            free(gate.data);
        }
        while (o.slow && !atomic_load(&e->timed_out[f->scope % SCOPES]) && !host->is_cancelled(e->run) && atomic_load(&e->reason) == 0)
            doze();
        if (o.slow || attempt <= o.fail)
        {
            if (o.slow)
                error.code = PAWL_TEXT("timeout");
            outcome.status = PAWL_ERROR;
            outcome.error = &error;
        }
        else
        {
            snprintf(number, sizeof number, "%d", attempt);
            outcome.value = bytes(o.value != NULL ? o.value : number);
        }
        atomic_store(&e->timed_out[f->scope % SCOPES], false);
        forget(a);
        expect(a);
        host->step_end(e->run, f->scope, &outcome, arrive, a);
        await(a);
        status = a->status;
    }
}

static void run_sql(flow *f, char *name, char *sql, answer *a)
{
    execution *e = f->e;
    options o = {.attempts = 1};
    char *bracket = strchr(name, '[');
    pawl_status status;

    if (bracket != NULL)
    {
        *bracket = '\0';
        bracket[strlen(bracket + 1)] = '\0';
        o = parse(bracket + 1);
    }
    pawl_retry retry = policy(&o);
    pawl_transaction_options transaction = {.size = sizeof transaction, .isolation = PAWL_READ_COMMITTED, .retry = &retry};

    expect(a);
    status = host->transaction_begin(e->run, f->scope, bytes(name), &transaction, arrive, a);
    if (status == PAWL_PENDING)
    {
        await(a);
        status = a->status;
    }
    while (status == PAWL_EXECUTE || status == PAWL_RETRY)
    {
        pawl_bytes parameter = bytes(e->id);
        answer executed;
        pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK, .value = PAWL_TEXT("true")};
        pawl_error error;

        expect(&executed);
        host->transaction_execute(e->run, f->scope, bytes(sql), &parameter, 1, arrive, &executed);
        await(&executed);
        if (executed.status == PAWL_CANCELLED || executed.status == PAWL_STOPPED || executed.status == PAWL_MISUSE)
        {
            forget(a);
            *a = executed;
            return;
        }
        if (executed.status == PAWL_ERROR)
        {
            error = error_of(&executed);
            outcome.status = PAWL_ERROR;
            outcome.error = &error;
        }
        forget(a);
        expect(a);
        host->transaction_end(e->run, f->scope, &outcome, arrive, a);
        await(a);
        forget(&executed);
        status = a->status;
    }
}

/* ---- the interpreter */

static void finish(flow *f, pawl_status status, char *output)
{
    f->ended = true;
    f->status = status;
    f->output = output;
}

/* Notes the answer, or ends the flow with it. */
static void take(flow *f, answer *a, bool tries, bool quiet)
{
    const char *comma = f->answers.size > 1 ? ", " : "";
    bool goes_on = a->status == PAWL_OK || a->status == PAWL_NONE || f->e->swallows || (tries && (a->status == PAWL_ERROR || a->status == PAWL_MISUSE));

    if (!goes_on)
    {
        f->failure = *a;
        finish(f, a->status, NULL);
        return;
    }
    if (!quiet)
        switch (a->status)
        {
            case PAWL_OK:
                append(&f->answers, comma, strlen(comma));
                append(&f->answers, a->value == NULL ? "null" : a->value, strlen(a->value == NULL ? "null" : a->value));
                break;
            case PAWL_NONE: print(&f->answers, "%s\"none\"", comma); break;
            case PAWL_ERROR: print(&f->answers, "%s{\"error\": \"%s\"}", comma, a->code); break;
            case PAWL_CANCELLED: print(&f->answers, "%s\"cancelled\"", comma); break;
            case PAWL_STOPPED: print(&f->answers, "%s\"stopped\"", comma); break;
            default: print(&f->answers, "%s{\"misuse\": \"%s\"}", comma, a->code); break;
        }
    forget(a);
}

static char *substituted(const flow *f, const char *line)
{
    text t = {0};

    append(&t, "", 0);
    while (*line != '\0')
        if (strncmp(line, "%%", 2) == 0)
        {
            append(&t, "%", 1);
            line += 2;
        }
        else if (strncmp(line, "%id", 3) == 0)
        {
            append(&t, f->e->id, strlen(f->e->id));
            line += 3;
        }
        else if (strncmp(line, "%i", 2) == 0)
        {
            print(&t, "%d", f->round);
            line += 2;
        }
        else
            append(&t, line++, 1);
    return t.data;
}

static void run_lines(flow *f, char *lines, bool quiet);

static void *run_branch(void *context)
{
    flow *f = context;

    append(&f->answers, "[", 1);
    run_lines(f, f->lines, false);
    append(&f->answers, "]", 1);
    host->close_branch(f->e->run, f->scope);
    return NULL;
}

/* A thread with a small stack: there may be thousands. */
static void begin(pthread_t *thread, void *(*body)(void *), void *context)
{
    pthread_attr_t small;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 << 10);
    if (pthread_create(thread, &small, body, context) != 0)
        abort();
    pthread_attr_destroy(&small);
}

static void run_parallel(flow *f, char **lines, int count, bool quiet)
{
    flow *branches = calloc((size_t) count, sizeof *branches);
    answer all;

    for (int i = 0; i < count; i++)
    {
        char *separator, *rest = strdup(lines[i]);
        char name[24];

        snprintf(name, sizeof name, "branch%d", i);
        branches[i] = (flow){.e = f->e, .round = f->round, .scope = host->branch(f->e->run, f->scope, bytes(name)), .lines = rest};
        while ((separator = strstr(rest, " ;; ")) != NULL)
        {
            memcpy(separator, "\n\n\n\n", 4);
            rest = separator + 4;
        }
        begin(&branches[i].thread, run_branch, &branches[i]);
    }
    expect(&all);
    all.status = PAWL_OK;
    text answers = {0};
    append(&answers, "[", 1);
    for (int i = 0; i < count; i++)
    {
        pthread_join(branches[i].thread, NULL);
        print(&answers, "%s", i > 0 ? ", " : "");
        append(&answers, branches[i].answers.data, branches[i].answers.size);
        if (branches[i].ended && all.status == PAWL_OK)
            all = branches[i].failure;
        free(branches[i].answers.data), free(branches[i].lines);
    }
    append(&answers, "]", 1);
    if (all.status == PAWL_OK)
        all.value = answers.data;
    else
        free(answers.data);
    free(branches);
    take(f, &all, false, quiet);
}

static void run_line(flow *f, const char *original, bool quiet)
{
    execution *e = f->e;
    char *line = substituted(f, original), *rest = line;
    char *what = word(&rest);
    bool tries = strcmp(what, "try") == 0;
    answer a;

    if (tries)
        what = word(&rest);
    expect(&a);
    a.status = PAWL_OK;
    if (strcmp(what, "step") == 0)
    {
        char *name = word(&rest);
        run_step(f, name, rest, 0, &a);
    }
    else if (strcmp(what, "sql") == 0)
    {
        char *name = word(&rest);
        run_sql(f, name, rest, &a);
    }
    else if (strcmp(what, "query") == 0)
    {
        char *name = word(&rest);
        host->query(e->run, f->scope, bytes(name), bytes(rest), NULL, 0, arrive, &a);
        await(&a);
    }
    else if (strcmp(what, "call") == 0)
    {
        char *kind = word(&rest), *name = word(&rest);
        host->call(e->run, f->scope, bytes(kind), bytes(name), bytes(rest), arrive, &a);
        await(&a);
    }
    else if (strcmp(what, "race") == 0)
    {
        char *name = word(&rest), *index = word(&rest), *value = word(&rest);
        pawl_result offered = {.size = sizeof offered, .status = PAWL_OK, .value = bytes(value)};

        host->call(e->run, f->scope, PAWL_TEXT("race"), bytes(name), bytes(rest), arrive, &a);
        host->offer(e->run, f->scope, (uint32_t) atoi(index), &offered);
        await(&a);
    }
    else if (strcmp(what, "emit") == 0)
    {
        char *kind = word(&rest);
        host->emit(e->run, f->scope, bytes(kind), bytes(rest), arrive, &a);
        await(&a);
    }
    else if (strcmp(what, "undo") == 0)
    {
        e->compensations[e->compensation_count++] = strdup(rest);
        quiet = true;
    }
    else if (strcmp(what, "fail") == 0)
    {
        a = (answer){.status = PAWL_ERROR, .code = strdup(word(&rest)), .type = strdup("Script"), .message = strdup("as asked")};
        tries = false;
    }
    else if (strcmp(what, "finish") == 0)
    {
        finish(f, PAWL_OK, strdup(rest));
        quiet = true;
    }
    else if (strcmp(what, "continue") == 0)
    {
        host->continue_as_new(e->run, bytes(rest), arrive, &a);
        await(&a);
    }
    else if (strcmp(what, "info") == 0)
    {
        text t = {0};

        print(&t, "{\"version\": %d, \"attempt\": %d, \"recoveries\": %d, \"deadline\": %s, \"parent\": ", e->version, e->attempt, e->recoveries,
              e->deadline_at > 0 ? "true" : "false");
        print(&t, e->parent == NULL ? "null}" : "\"%s\"}", e->parent);
        a.value = t.data;
    }
    else if (strcmp(what, "cancelled") == 0)
        a.value = strdup(host->is_cancelled(e->run) ? "true" : "false");
    else if (strcmp(what, "gate") == 0)
        wait_at_gate(e->id);
    else if (strcmp(what, "swallow") == 0)
        e->swallows = quiet = true;
    else if (strcmp(what, "block") != 0)
    {
        a = (answer){.status = PAWL_ERROR, .code = strdup("bad_script"), .type = strdup("Script"), .message = strdup(what)};
        tries = false;
    }
    take(f, &a, tries, quiet);
    free(line);
}

static void run_lines(flow *f, char *lines, bool quiet)
{
    char *list[4096];
    int count = 0;

    for (char *save = NULL, *line = strtok_r(lines, "\n", &save); line != NULL && count < 4096; line = strtok_r(NULL, "\n", &save))
    {
        line += strspn(line, " ");
        if (*line != '\0')
            list[count++] = line;
    }
    for (int i = 0; i < count && !f->ended; i++)
    {
        bool parallel = strcmp(list[i], "parallel") == 0;

        if (!parallel && strncmp(list[i], "times ", 6) != 0)
        {
            run_line(f, list[i], quiet);
            continue;
        }
        int last = i + 1;
        while (last < count && strcmp(list[last], "end") != 0)
            last++;
        if (parallel)
            run_parallel(f, list + i + 1, last - i - 1, quiet);
        else
        {
            int times = atoi(list[i] + 6);

            for (f->round = 1; f->round <= times && !f->ended; f->round++)
                for (int j = i + 1; j < last && !f->ended; j++)
                    run_line(f, list[j], true);
            if (!f->ended)
                print(&f->answers, "%s%d", f->answers.size > 1 ? ", " : "", times);
        }
        i = last;
    }
}

static void let_go(execution *e)
{
    if (atomic_fetch_sub(&e->owners, 1) > 1)
        return;
    for (int i = 0; i < e->compensation_count; i++)
        free(e->compensations[i]);
    free(e->id), free(e->script), free(e->parent);
    free(e);
}

/* The JSON text's text, in place. */
static void unescape(char *json)
{
    char *to = json;

    for (const char *from = json + 1; *from != '\0' && *from != '"'; from++)
    {
        if (*from == '\\')
            from++, *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        else
            *to++ = *from;
    }
    *to = '\0';
}

static void *run(void *context)
{
    execution *e = context;
    flow root = {.e = e, .scope = PAWL_ROOT_SCOPE};
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK};
    pawl_error error;

    unescape(e->script);
    append(&root.answers, "[", 1);
    run_lines(&root, e->script, false);
    append(&root.answers, "]", 1);
    if (!root.ended || root.status == PAWL_OK)
        outcome.value = bytes(root.output != NULL ? root.output : root.answers.data);
    else
    {
        outcome.status = root.status == PAWL_MISUSE ? PAWL_ERROR : root.status;
        if (outcome.status == PAWL_ERROR)
        {
            error = error_of(&root.failure);
            outcome.error = &error;
        }
        if (outcome.status != PAWL_STOPPED && e->compensation_count > 0)
        {
            answer a;

            expect(&a);
            host->compensate(e->run, &outcome, arrive, &a);
            await(&a);
            for (int i = e->compensation_count - 1; i >= 0 && a.status == PAWL_OK; i--)
            {
                char *rest = e->compensations[i], *name = word(&rest);

                forget(&a);
                run_step(&root, name, rest, PAWL_STEP_COMPENSATION, &a);
            }
            forget(&a);
        }
    }
    host->finish(e->run, &outcome);
    forget(&root.failure);
    free(root.answers.data), free(root.output);
    let_go(e);
    return NULL;
}

/* ---- what the host calls */

static void *start(void *context, pawl_run *pawl_run, const pawl_start *start)
{
    execution *e = calloc(1, sizeof *e);
    pthread_t thread;

    (void) context;
    e->run = pawl_run;
    e->owners = 2;
    e->id = copied(start->workflow_id);
    e->script = copied(start->input);
    e->version = start->workflow_version;
    e->recoveries = start->recoveries;
    e->attempt = start->attempt;
    e->deadline_at = start->deadline_at;
    e->parent = start->parent_workflow_id.data == NULL ? NULL : copied(start->parent_workflow_id);
    if (strncmp(e->script, "\"block", 6) == 0)
        wait_at_gate(e->id);
    begin(&thread, run, e);
    pthread_detach(thread);
    return e;
}

static void interrupt(void *run_context, pawl_status reason)
{
    atomic_store(&((execution *) run_context)->reason, reason);
}

static void interrupt_step(void *run_context, pawl_scope scope)
{
    atomic_store(&((execution *) run_context)->timed_out[scope % SCOPES], true);
}

static void release(void *run_context)
{
    let_go(run_context);
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *table)
{
    host = table;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = VERSION, .workflow_name = PAWL_TEXT(NAME), .start = start, .interrupt = interrupt,
        .release = release, .interrupt_step = interrupt_step};
    return host->register_handler(host->host, &handler);
}
