/*
 * bank.c: the handlers of EndToEndTests.
 *
 *   transfer            transaction "transfer", step "notify", transaction "receipt": SQL functions of the test's own get the input
 *   one_step            one step
 *   gated_step          stops inside a step,
 *   gated_transaction   inside a transaction,
 *   gated_finish        before its end: until the test opens the gate
 *   poison              takes the whole process down
 *
 * A gate is a pair of files in $PAWL_TEST_GATES: the handler makes ID.reached and goes on once ID.open is there.
 */
#include <pawl_plugin.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *host;

typedef enum { TRANSFER, ONE_STEP, GATED_STEP, GATED_TRANSACTION, GATED_FINISH, POISON } kind;

typedef struct {
    pawl_run *run;
    kind kind;
    int stage;
    char *id;
    char *input;
} execution;

static const kind kinds[] = {TRANSFER, ONE_STEP, GATED_STEP, GATED_TRANSACTION, GATED_FINISH, POISON};
static const char *const names[] = {"transfer", "one_step", "gated_step", "gated_transaction", "gated_finish", "poison"};

static void advance(execution *e);
static void transaction_body(execution *e);

static pawl_bytes text(const char *s)
{
    return (pawl_bytes){s, strlen(s)};
}

static char *copy(pawl_bytes bytes)
{
    char *s = malloc(bytes.size + 1);
    memcpy(s, bytes.data, bytes.size);
    s[bytes.size] = '\0';
    return s;
}

static pawl_result value(const char *json)
{
    return (pawl_result){.size = sizeof(pawl_result), .status = PAWL_OK, .value = text(json)};
}

static void finish_like(execution *e, const pawl_result *result)
{
    pawl_result outcome = {.size = sizeof outcome, .status = result->status == PAWL_MISUSE ? PAWL_ERROR : result->status, .error = result->error};
    host->finish(e->run, &outcome);
}

static void next(void *context, const pawl_result *result)
{
    execution *e = context;

    if (result->status != PAWL_OK)
    {
        finish_like(e, result);
        return;
    }
    e->stage++;
    advance(e);
}

/* What a begin answers. */
static void recorded(void *context, const pawl_result *result)
{
    execution *e = context;

    if (result->status == PAWL_EXECUTE) /* after the back-off of an attempt before a restart */
    {
        transaction_body(e);
        return;
    }
    if (e->kind == GATED_STEP || e->kind == GATED_TRANSACTION)
        e->stage = 1;
    next(e, result);
}

/* Waits in a thread of its own: a delivery thread must not block. */
static void *wait_at_gate(void *context)
{
    execution *e = context;
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s.reached", getenv("PAWL_TEST_GATES"), e->id);
    file = fopen(path, "w");
    fclose(file);
    snprintf(path, sizeof path, "%s/%s.open", getenv("PAWL_TEST_GATES"), e->id);
    while (access(path, F_OK) != 0)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    e->stage++;
    advance(e);
    return NULL;
}

static void go_to_gate(execution *e)
{
    pthread_t thread;

    pthread_create(&thread, NULL, wait_at_gate, e);
    pthread_detach(thread);
}

/* ---- transactions */

static const char *transaction_name(const execution *e)
{
    return e->kind == TRANSFER && e->stage >= 2 ? "receipt" : "transfer";
}

static void transaction_ended(void *context, const pawl_result *result);

static void executed(void *context, const pawl_result *result)
{
    execution *e = context;

    if (result->status == PAWL_OK && e->kind == GATED_TRANSACTION)
    {
        go_to_gate(e);
        return;
    }
    if (result->status == PAWL_OK)
    {
        pawl_result outcome = value("true");
        host->transaction_end(e->run, PAWL_ROOT_SCOPE, &outcome, transaction_ended, e);
        return;
    }
    if (result->status == PAWL_ERROR)
    {
        pawl_result outcome = {.size = sizeof outcome, .status = PAWL_ERROR, .error = result->error};
        host->transaction_end(e->run, PAWL_ROOT_SCOPE, &outcome, transaction_ended, e);
        return;
    }
    finish_like(e, result);
}

static void transaction_body(execution *e)
{
    /* The gated one locks no account: a worker that is stopped inside it would keep its heir from the gate. */
    const char *sql = e->kind == GATED_TRANSACTION || strcmp(transaction_name(e), "receipt") == 0 ? "SELECT bank.receipt($1::jsonb)"
                                                                                                : "SELECT bank.transfer($1::jsonb)";
    pawl_bytes parameter = text(e->input);

    host->transaction_execute(e->run, PAWL_ROOT_SCOPE, text(sql), &parameter, 1, executed, e);
}

static void transaction_ended(void *context, const pawl_result *result)
{
    execution *e = context;

    if (result->status == PAWL_RETRY)
        transaction_body(e);
    else
        next(e, result);
}

static void transaction(execution *e)
{
    if (host->transaction_begin(e->run, PAWL_ROOT_SCOPE, text(transaction_name(e)), NULL, recorded, e) == PAWL_EXECUTE)
        transaction_body(e);
}

/* ---- steps */

static void step(execution *e, const char *name)
{
    if (host->step_begin(e->run, PAWL_ROOT_SCOPE, text(name), NULL, recorded, e) != PAWL_EXECUTE)
        return;
    if (e->kind == GATED_STEP)
    {
        go_to_gate(e);
        return;
    }
    pawl_result outcome = value("1");
    host->step_end(e->run, PAWL_ROOT_SCOPE, &outcome, next, e);
}

static void succeed(execution *e)
{
    pawl_result outcome = value("{\"done\": true}");

    host->finish(e->run, &outcome);
}

static void advance(execution *e)
{
    pawl_result outcome = value("true");

    switch (e->kind)
    {
        case TRANSFER:
            if (e->stage == 1)
                step(e, "notify");
            else if (e->stage < 3)
                transaction(e);
            else
                succeed(e);
            break;
        case ONE_STEP:
            e->stage == 0 ? step(e, "step") : succeed(e);
            break;
        case GATED_STEP:
            if (e->stage == 0)
                step(e, "step");
            else if (e->stage == 1)
                host->step_end(e->run, PAWL_ROOT_SCOPE, &outcome, next, e);
            else
                succeed(e);
            break;
        case GATED_TRANSACTION:
            if (e->stage == 0)
                transaction(e);
            else if (e->stage == 1)
                host->transaction_end(e->run, PAWL_ROOT_SCOPE, &outcome, transaction_ended, e);
            else
                succeed(e);
            break;
        case GATED_FINISH:
            e->stage == 0 ? go_to_gate(e) : succeed(e);
            break;
        case POISON:
            raise(SIGKILL);
    }
}

static void *start(void *context, pawl_run *run, const pawl_start *start)
{
    execution *e = calloc(1, sizeof *e);

    e->run = run;
    e->kind = *(const kind *) context;
    e->id = copy(start->workflow_id);
    e->input = copy(start->input);
    advance(e);
    return e;
}

static void interrupt(void *run_context, pawl_status reason)
{
    (void) run_context, (void) reason;
}

static void release(void *run_context)
{
    execution *e = run_context;

    free(e->id);
    free(e->input);
    free(e);
}

int32_t pawl_plugin_register(const pawl_host *table)
{
    host = table;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    {
        pawl_handler handler = {
            .size = sizeof handler, .workflow_version = 1, .workflow_name = text(names[i]),
            .context = (void *) &kinds[i], .start = start, .interrupt = interrupt, .release = release};

        if (host->register_handler(host->host, &handler) != PAWL_OK)
            return 1;
    }
    return 0;
}
