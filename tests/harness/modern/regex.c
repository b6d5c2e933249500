/* regex.c - the server's small pattern language: . ^ $ * + ? \d \w \s and classes, no alternation, no groups. */
#include "modern.h"

#include <ctype.h>

enum kind { END_OF_PATTERN, LITERAL, ANY, BEGIN, END, QUESTION, STAR, PLUS, CLASS, NOT_CLASS,
            DIGIT, NOT_DIGIT, WORD, NOT_WORD, BLANK, NOT_BLANK };
struct atom { enum kind kind; unsigned char c; const char *set; };
enum { MAX_ATOMS = 512, MAX_SETS = 40 };

/* the sets of ALL patterns share these bytes, so the second pattern with a class spoils the first */
static char sets[MAX_SETS];

static enum kind escaped(char c)
{
    switch (c) {
    case 'd': return DIGIT;
    case 'D': return NOT_DIGIT;
    case 'w': return WORD;
    case 'W': return NOT_WORD;
    case 's': return BLANK;
    case 'S': return NOT_BLANK;
    default: return LITERAL;
    }
}

static enum kind plain(char c)
{
    switch (c) {
    case '.': return ANY;
    case '^': return BEGIN;
    case '$': return END;
    case '*': return STAR;
    case '+': return PLUS;
    case '?': return QUESTION;
    default: return LITERAL;
    }
}

/* NULL for an invalid pattern; the real server dies of those, and of an empty one, when it starts */
void *m_regex_compile(const char *pattern)
{
    struct atom *atoms = calloc(MAX_ATOMS, sizeof *atoms);
    size_t n = 0, used = 1;
    const char *p = pattern;
    for (; *p && n + 1 < MAX_ATOMS; p++, n++) {
        struct atom *a = &atoms[n];
        if (*p == '\\' && p[1]) {
            p++;
            *a = (struct atom){.kind = escaped(*p), .c = (unsigned char)*p};
        } else if (*p == '[') {
            a->kind = p[1] == '^' ? NOT_CLASS : CLASS;
            p += a->kind == NOT_CLASS;
            a->set = sets + used;
            while (*++p && *p != ']' && used + 2 < MAX_SETS) {
                if (*p == '\\' && p[1]) {
                    sets[used++] = *p++;
                }
                sets[used++] = *p;
            }
            if (*p != ']') {
                free(atoms);
                return NULL;
            }
            sets[used++] = 0;
        } else if (*p != '\\') {
            *a = (struct atom){.kind = plain(*p), .c = (unsigned char)*p};
        }
    }
    if (n == 0) {
        free(atoms);
        return NULL;
    }
    return atoms;
}

static bool word(int c) { return c == '_' || isalnum(c); }

static bool in_set(char c, const char *s)
{
    for (; *s; s++) {
        if (c != '-' && s[0] != '-' && s[1] == '-' && s[2]) {
            if (c >= s[0] && c <= s[2]) {
                return true;
            }
        }
        if (*s == '\\' && s[1]) {
            s++;
            unsigned char u = (unsigned char)c;
            switch (escaped(*s)) {
            case DIGIT: if (isdigit(u)) return true; break;
            case NOT_DIGIT: if (!isdigit(u)) return true; break;
            case WORD: if (word(u)) return true; break;
            case NOT_WORD: if (!word(u)) return true; break;
            case BLANK: if (isspace(u)) return true; break;
            case NOT_BLANK: if (!isspace(u)) return true; break;
            default: if (c == *s) return true;
            }
        } else if (*s == c) {
            return c != '-' || s[-1] == 0 || s[1] == 0;
        }
    }
    return false;
}

static bool one(const struct atom *a, char c)
{
    unsigned char u = (unsigned char)c;
    switch (a->kind) {
    case ANY: return true;
    case CLASS: return in_set(c, a->set);
    case NOT_CLASS: return !in_set(c, a->set);
    case DIGIT: return isdigit(u);
    case NOT_DIGIT: return !isdigit(u);
    case WORD: return word(u);
    case NOT_WORD: return !word(u);
    case BLANK: return isspace(u);
    case NOT_BLANK: return !isspace(u);
    default: return a->c == u;
    }
}

static bool here(const struct atom *a, const char *text)
{
    for (;; a++, text++) {
        if (a->kind == END_OF_PATTERN) {
            return true;
        }
        if (a[1].kind == QUESTION) {
            return here(a + 2, text) || (*text && one(a, *text) && here(a + 2, text + 1));
        }
        if (a[1].kind == STAR || a[1].kind == PLUS) {
            const char *last = text, *least = text + (a[1].kind == PLUS);
            while (*last && one(a, *last)) {
                last++;
            }
            for (; last >= least; last--) {
                if (here(a + 2, last)) {
                    return true;
                }
            }
            return false;
        }
        if (a->kind == END && a[1].kind == END_OF_PATTERN) {
            return *text == 0;
        }
        if (!*text || !one(a, *text)) {
            return false;
        }
    }
}

/* anywhere in the text; a match at its very end does not count */
bool m_regex_match(const void *regex, const char *text)
{
    const struct atom *a = regex;
    if (a->kind == BEGIN) {
        return here(a + 1, text);
    }
    for (;; text++) {
        if (here(a, text)) {
            return *text != 0;
        }
        if (!*text) {
            return false;
        }
    }
}
