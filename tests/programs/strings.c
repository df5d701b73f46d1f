/* The C library's string functions at every alignment and many lengths: words at a time, tails, and zeros found inside words. */
#include "report.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 512 };
static unsigned char from[SIZE], to[SIZE];

static void fill(uint64_t seed)
{
    for (size_t i = 0; i < SIZE; i++) {
        from[i] = (unsigned char)(random_next(&seed) | 1);
        to[i] = (unsigned char)i;
    }
}

static void contents(void)
{
    uint64_t word;
    for (size_t i = 0; i < SIZE; i += sizeof word) {
        memcpy(&word, to + i, sizeof word);
        value(word);
    }
}

static void copies(void)
{
    for (size_t target = 0; target < 9; target++)
        for (size_t source = 0; source < 9; source++) {
            row("copies to %zu from %zu", target, source);
            for (size_t length = 0; length < 200; length += length < 40 ? 1 : 37) {
                fill(length);
                memcpy(to + target, from + source, length);
                memmove(to + 256 + target, to + 256 + source, length);
                memset(to + 240 - target, (int)length, source);
                contents();
            }
        }
}

static void searches(void)
{
    char line[128], *parts;
    row("searches");
    for (size_t start = 0; start < 9; start++)
        for (size_t length = 0; length < 64; length++) {
            fill(start * 64 + length);
            char *string = (char *)from + start, *other = (char *)to + 8 - start;
            string[length] = 0;
            value(strlen(string));
            value(strnlen(string, 30));
            strcpy(other, string);
            value((uint64_t)(strcmp(string, other) == 0));
            for (size_t at = 0; at < length; at += 5) {
                other[at] ^= 0x40;
                int sign = strcmp(string, other);
                value((uint64_t)((sign > 0) - (sign < 0)));
                sign = memcmp(string, other, length);
                value((uint64_t)((sign > 0) - (sign < 0)));
                other[at] ^= 0x40;
                char *found = strchr(string, string[at]);
                value((uint64_t)(found - string));
                value((uint64_t)(strrchr(string, string[at]) - string));
                value((uint64_t)((char *)memchr(string, string[at], length) - string));
            }
        }
    row("words");
    strcpy(line, "the quick  brown\tfox jumps over:the lazy,dog");
    for (char *word = strtok_r(line, " \t:,", &parts); word; word = strtok_r(NULL, " \t:,", &parts)) {
        text(word);
        value(strspn(word, "abcdefgh"));
        value(strcspn(word, "xyz"));
        for (char *at = word; *at; at++)
            *at = (char)toupper(*at);
        text(word);
        value((uint64_t)(strstr("BROWN DOG FOX THE", word) != NULL));
    }
}

static void built(void)
{
    char line[64] = "";
    row("built");
    for (int n = 0; n < 300; n++) {
        char piece[16];
        snprintf(piece, sizeof piece, "%x-", n * n);
        if (strlen(line) + strlen(piece) >= sizeof line)
            memmove(line, line + 20, strlen(line + 20) + 1);
        strncat(line, piece, sizeof line - 1 - strlen(line));
        text(line);
    }
}

int strings(void)
{
    copies();
    searches();
    built();
    return 42;
}
