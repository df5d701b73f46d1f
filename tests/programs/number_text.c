/* Integers to text and back: printf's flags and widths, strtol's bases, overflow and its ends, sscanf. */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const formats[] = {"%ld", "%20ld", "%-20ld|", "%+ld", "% ld", "%020ld", "%lu", "%lx", "%#lX", "%#lo", "%.10ld", "%'ld", "%+-12.5ld|"};
static const char *const inputs[] = {
    "0", "-0", "+7", " \t 42x", "0x7fffffffffffffff", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616", "-18446744073709551615", "0777", "0x", "0xg", "zzz", "", "-", "12345678901234567890123", "1e5", "7fffffff", "ZZ", "-80000000",
};

static void printed(void)
{
    char line[96];
    for (size_t f = 0; f < COUNT(formats); f++) {
        row("format %s", formats[f]);
        for (size_t i = 0; i < integer_count; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(line, sizeof line, formats[f], integers[i]);
#pragma GCC diagnostic pop
            text(line);
        }
    }
    row("narrow");
    for (size_t i = 0; i < integer_count; i++) {
        snprintf(line, sizeof line, "%d %u %x %hd %hhu %c", (int)integers[i], (unsigned)integers[i], (unsigned)integers[i], (short)integers[i],
                 (unsigned char)integers[i], (int)(integers[i] % 26 + 'a'));
        text(line);
    }
}

static void parsed(void)
{
    for (int base = 0; base <= 36; base += base ? 7 : 2) {
        row("base %d", base);
        for (size_t i = 0; i < COUNT(inputs); i++) {
            char *end;
            errno = 0;
            value((uint64_t)strtol(inputs[i], &end, base));
            value((uint64_t)(end - inputs[i]));
            value((uint64_t)errno);
            errno = 0;
            value(strtoul(inputs[i], &end, base));
            value((uint64_t)errno);
            value((uint64_t)(int64_t)atoi(inputs[i]));
        }
    }
    row("scanned");
    for (size_t i = 0; i < integer_count; i++) {
        char line[96];
        int a = 0, fields;
        unsigned long b = 0;
        short c = 0;
        snprintf(line, sizeof line, "%d:%lx/%hd", (int)integers[i], integers[i], (short)integers[i]);
        fields = sscanf(line, "%d:%lx/%hd", &a, &b, &c);
        value((uint64_t)fields);
        value((uint64_t)a);
        value(b);
        value((uint64_t)c);
    }
}

int number_text(void)
{
    printed();
    parsed();
    return 200;
}
