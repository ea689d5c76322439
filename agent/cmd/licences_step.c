#include "agent/cmd/licences.h"

#include "base/data/json.h"

#include <archive.h>
#include <curl/curl.h>
#include <git2.h>
#include <libpq-fe.h>
#include <libssh2.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>
#include <yaml.h>
#include <zlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#ifdef DAVIT_LIBSSH2_BUILT_IN
enum { BUILT_IN_SSH = 1 };
#else
enum { BUILT_IN_SSH = 0 };
#endif

json_t *licences_linked(void)
{
	int major = 0, minor = 0, patch = 0, pq = PQlibVersion(), archive = archive_version_number();
	char git[32], pq_version[32], archive_version[32], pcre[64] = "";
	git_libgit2_version(&major, &minor, &patch);
	snprintf(git, sizeof(git), "%d.%d.%d", major, minor, patch);
	snprintf(pq_version, sizeof(pq_version), "%d.%d", pq / 10000, pq % 10000);
	snprintf(archive_version, sizeof(archive_version), "%d.%d.%d", archive / 1000000, archive / 1000 % 1000,
	         archive % 1000);
	if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof(pcre))
		pcre2_config(PCRE2_CONFIG_VERSION, pcre);
	pcre[strcspn(pcre, " ")] = '\0'; /* its date follows */
	const struct {
		const char *name, *version, *licence;
		bool built_in;
	} parts[] = {
		{"curl", curl_version_info(CURLVERSION_NOW)->version, "curl", false},
		{"jansson", jansson_version_str(), "MIT", false},
		{"libarchive", archive_version, "BSD-2-Clause", false},
		{"libgit2", git, "GPL-2.0-only WITH GCC-exception-2.0", false},
		{"libpq", pq_version, "PostgreSQL", false},
		{"libssh2", libssh2_version(0), "BSD-3-Clause", BUILT_IN_SSH},
		{"libyaml", yaml_get_version_string(), "MIT", false},
		{"openssl", OpenSSL_version(OPENSSL_VERSION_STRING), "Apache-2.0", false},
		{"pcre2", pcre, "BSD-3-Clause", false},
		{"sqlite", sqlite3_libversion(), "blessing", false},
		{"zlib", zlibVersion(), "Zlib", false},
	};
	json_t *list = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		json_array_append_new(
			list, licences_part(parts[i].name, parts[i].version, parts[i].licence, parts[i].built_in));
	return list;
}
