/* Records with names: a hash table of structures, strings formatted, compared, copied and looked up. */
#include "bench.h"

enum { RECORDS = 2000, BUCKETS = 1024, NAME = 24 };

struct record {
    struct record *next;
    char name[NAME];
    int32_t balance;
    uint16_t visits;
    uint8_t kind;
};

struct store {
    struct record *buckets[BUCKETS];
    struct record records[RECORDS];
};

static size_t length_of(const char *text)
{
    const char *end = text;
    while (*end)
        end++;
    return (size_t)(end - text);
}

static int compare(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

static void append(char *to, const char *text)
{
    to += length_of(to);
    while ((*to++ = *text++))
        ;
}

static void append_number(char *to, uint32_t number)
{
    char digits[12];
    char *at = digits + sizeof digits;
    *--at = 0;
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    append(to, at);
}

static void name_of(uint32_t id, char *name)
{
    static const char *const first[] = {"mina-", "jun-", "sora-", "haneul-", "bora-", "dae-"};
    name[0] = 0;
    append(name, first[id % 6]);
    append_number(name, id * 2654435761u % 1000003);
}

static uint32_t hash(const char *text)
{
    uint32_t h = 17;
    while (*text)
        h = h * 31 + (unsigned char)*text++;
    return h;
}

static struct record *find(struct store *store, const char *name)
{
    struct record *r = store->buckets[hash(name) % BUCKETS];
    while (r && compare(r->name, name))
        r = r->next;
    return r;
}

static void fill(struct store *store)
{
    for (int i = 0; i < BUCKETS; i++)
        store->buckets[i] = NULL;
    for (uint32_t id = 0; id < RECORDS; id++) {
        struct record *r = &store->records[id];
        name_of(id, r->name);
        struct record **bucket = &store->buckets[hash(r->name) % BUCKETS];
        r->next = *bucket;
        r->balance = (int32_t)id - 1000;
        r->visits = 0;
        r->kind = (uint8_t)(id % 5);
        *bucket = r;
    }
}

static void pay(struct store *store, uint32_t from, uint32_t to, int32_t amount)
{
    char name[NAME];
    name_of(from, name);
    struct record *payer = find(store, name);
    name_of(to, name);
    struct record *payee = find(store, name);
    payer->balance -= amount;
    payee->balance += amount;
    payer->visits++;
    if (payer->kind == payee->kind) {
        struct record swapped = *payer;
        payer->balance = payee->balance;
        payer->visits = payee->visits;
        payee->balance = swapped.balance;
        payee->visits = swapped.visits;
    }
}

static uint64_t run(uint64_t rounds)
{
    struct store *store = (struct store *)arena;
    uint64_t state = 3, checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        fill(store);
        for (int i = 0; i < 5000; i++) {
            uint64_t dice = random_next(&state);
            pay(store, (uint32_t)(dice % RECORDS), (uint32_t)((dice >> 20) % RECORDS), (int32_t)(dice >> 54));
        }
        for (int i = 0; i < RECORDS; i++)
            checksum = mix(checksum, (uint64_t)store->records[i].balance << 16 ^ store->records[i].visits);
    }
    return checksum;
}

const struct program records = {"records", NULL, run, 500};
