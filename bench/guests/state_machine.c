/* A scanner for a small programming language: one state and one character choose the next state. */
#include "bench.h"

enum { TEXT = 64 << 10 };
enum state { SPACE, WORD, NUMBER, FRACTION, STRING, ESCAPE, SLASH, COMMENT, STAR, SIGN };
enum kind { WORDS, NUMBERS, STRINGS, COMMENTS, SIGNS, LINES, KINDS };

static void setup(void)
{
    static const char *const pieces[] = {
        "while ", "count", " = ", "1729", "; ", "3.25", "\"a \\\"b\\\" c\"", "/* note * here */", "\n", "(", ")", " + ", "x1 ", "return ",
        "if ", "/ ", "{\n  ", "}\n",
    };
    uint64_t state = 7;
    size_t at = 0;
    while (at < TEXT) {
        const char *piece = pieces[random_next(&state) % (sizeof pieces / sizeof *pieces)];
        while (*piece && at < TEXT)
            arena[at++] = (unsigned char)*piece++;
    }
}

static int is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static enum state begin(unsigned char c, uint64_t *counts)
{
    if (is_letter(c))
        return WORD;
    if (is_digit(c))
        return NUMBER;
    switch (c) {
    case '\n':
        counts[LINES]++;
        return SPACE;
    case ' ':
    case '\t':
        return SPACE;
    case '"':
        return STRING;
    case '/':
        return SLASH;
    default:
        return SIGN;
    }
}

static void scan(const unsigned char *text, size_t length, uint64_t *counts)
{
    enum state state = SPACE;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = text[i];
        switch (state) {
        case SPACE:
            state = begin(c, counts);
            break;
        case WORD:
            if (!is_letter(c) && !is_digit(c)) {
                counts[WORDS]++;
                state = begin(c, counts);
            }
            break;
        case NUMBER:
        case FRACTION:
            if (c == '.' && state == NUMBER) {
                state = FRACTION;
            } else if (!is_digit(c)) {
                counts[NUMBERS]++;
                state = begin(c, counts);
            }
            break;
        case STRING:
            if (c == '\\') {
                state = ESCAPE;
            } else if (c == '"') {
                counts[STRINGS]++;
                state = SPACE;
            }
            break;
        case ESCAPE:
            state = STRING;
            break;
        case SLASH:
            if (c == '*') {
                state = COMMENT;
            } else {
                counts[SIGNS]++;
                state = begin(c, counts);
            }
            break;
        case COMMENT:
            if (c == '*')
                state = STAR;
            break;
        case STAR:
            if (c == '/') {
                counts[COMMENTS]++;
                state = SPACE;
            } else if (c != '*') {
                state = COMMENT;
            }
            break;
        case SIGN:
            counts[SIGNS]++;
            state = begin(c, counts);
            break;
        }
    }
}

static uint64_t run(uint64_t rounds)
{
    uint64_t counts[KINDS] = {0}, checksum = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        arena[round % TEXT] = "a 1\"/*;"[round % 7];
        scan(arena, TEXT, counts);
    }
    for (int kind = 0; kind < KINDS; kind++)
        checksum = mix(checksum, counts[kind]);
    return checksum;
}

const struct program state_machine = {"state_machine", setup, run, 800};
