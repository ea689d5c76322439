/* What an answer says of time. */
#include "base/core/clock.h"
#include "base/net/http_priv.h"

static int64_t date_of(const char *text)
{
	time_t when = text != NULL ? curl_getdate(text, NULL) : -1;
	return when < 0 ? -1 : (int64_t)when * 1000;
}

int64_t http_date_ms(const struct http_response *response)
{
	return date_of(http_header(response, "Date"));
}

/* A date is one of the server's clock, which the answer's own Date shows. */
int64_t http_retry_after_ms(const struct http_response *response)
{
	const char *value = http_header(response, "Retry-After");
	long long seconds;
	if (value == NULL)
		return -1;
	if (str_parse_i64(value, 0, INT32_MAX, &seconds))
		return seconds * 1000;
	int64_t when = date_of(value), now = http_date_ms(response);
	return when < 0 ? -1 : MAX(when - (now >= 0 ? now : clock_wall_ms()), 0);
}
