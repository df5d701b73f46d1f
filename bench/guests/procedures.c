/* Small procedures, as Dhrystone measures them: records are assigned and changed through pointers, texts of thirty characters copied and
 * compared, cells of tables counted, and much is decided by small values. No procedure is inlined: most of the work is calls. */
#include "bench.h"

#define CALLED __attribute__((noinline, noclone))

enum { TEXT = 31, LANES = 40, PARCELS = 16 };

enum state { ARRIVED, SORTED, LOADED, LOST };

struct parcel {
    struct parcel *next;
    enum state state;
    int32_t weight, moves;
    char label[TEXT];
};

struct depot {
    struct parcel parcels[PARCELS], *belt;
    int32_t lane[LANES], routes[LANES][LANES];
    int32_t lost, heaviest;
};

static CALLED void copy_text(char *to, const char *from)
{
    while ((*to++ = *from++))
        ;
}

static CALLED int compare_texts(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

static CALLED int is_urgent(char sign)
{
    return sign == '!';
}

static CALLED int32_t lane_for(const struct parcel *parcel)
{
    return (parcel->weight * 5 + parcel->label[0] + (is_urgent(parcel->label[TEXT - 2]) ? 3 : 0)) & 31;
}

static CALLED enum state state_after(enum state state, int32_t moves)
{
    switch (state) {
    case ARRIVED:
        return SORTED;
    case SORTED:
        return moves > 90 ? LOST : LOADED;
    case LOADED:
        return ARRIVED;
    case LOST:
        break;
    }
    return ARRIVED;
}

static CALLED void count_route(struct depot *depot, int32_t from, int32_t to)
{
    depot->lane[to] = depot->lane[from] + 1;
    depot->routes[from][to]++;
    depot->routes[to + 1][from] = depot->lane[to];
}

static CALLED int32_t heavier(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static CALLED void exchange(struct parcel *one, struct parcel *other)
{
    struct parcel kept = *one, *next = other->next;
    *one = *other;
    one->next = kept.next;
    *other = kept;
    other->next = next;
}

static CALLED void relabel(struct depot *depot, struct parcel *parcel)
{
    copy_text(parcel->label, parcel->moves & 1 ? "from the hills to the harbour!" : "from the harbour to the hills.");
    depot->lost += parcel->state == LOST;
}

static CALLED void move(struct depot *depot, struct parcel *parcel)
{
    int32_t from = lane_for(parcel);
    parcel->state = state_after(parcel->state, parcel->moves);
    parcel->moves = parcel->state == LOST ? 0 : parcel->moves + 1;
    parcel->weight ^= parcel->moves & 7;
    if (parcel->state == ARRIVED)
        relabel(depot, parcel);
    count_route(depot, from, lane_for(parcel));
}

static CALLED void work(struct depot *depot)
{
    for (struct parcel *parcel = depot->belt; parcel; parcel = parcel->next) {
        move(depot, parcel);
        if (parcel->next && compare_texts(parcel->label, parcel->next->label) > 0)
            exchange(parcel, parcel->next);
        depot->heaviest = heavier(depot->heaviest, parcel->weight);
    }
}

static CALLED void open_depot(struct depot *depot)
{
    *depot = (struct depot){.heaviest = 0};
    for (int i = 0; i < PARCELS; i++) {
        struct parcel *parcel = &depot->parcels[i];
        copy_text(parcel->label, "from the harbour to the hills!");
        parcel->label[9] += (char)i;
        parcel->weight = 10 + i * 7;
        parcel->next = depot->belt;
        depot->belt = parcel;
    }
}

static uint64_t run(uint64_t rounds)
{
    struct depot *depot = (struct depot *)arena;
    uint64_t checksum = 0;
    open_depot(depot);
    for (uint64_t round = 0; round < rounds; round++) {
        work(depot);
        checksum = mix(checksum, (uint64_t)(uint32_t)depot->heaviest << 32 ^ (uint32_t)depot->lost ^ (uint64_t)depot->belt->moves << 16);
    }
    for (int i = 0; i < LANES; i++)
        checksum = mix(checksum, (uint64_t)(uint32_t)depot->lane[i] << 32 ^ (uint32_t)depot->routes[i][i / 2]);
    return checksum;
}

const struct program procedures = {"procedures", NULL, run, 400000};
