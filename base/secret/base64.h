/* Base64 (RFC 4648) with both alphabets. OpenSSL's reader accepts neither the URL alphabet nor missing padding nor line breaks. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

void base64_encode(const void *data, size_t len, struct str *out);
void base64_encode_url(const void *data, size_t len, struct str *out); /* no padding */
/* Both alphabets, padding optional, white space ignored. ERR_INVALID, or ERR_LIMIT if `out` is full. */
int base64_decode(const char *text, size_t len, struct str *out, struct err *err);
