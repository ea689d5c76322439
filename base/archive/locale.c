#include "base/archive/locale.h"

struct archive_locale archive_locale_enter(void)
{
	static const char *const names[] = {"C.UTF-8", "C.utf8", "en_US.UTF-8"};
	struct archive_locale l = {0};

	for (int i = 0; i < 3 && !l.mine; i++)
		l.mine = newlocale(LC_CTYPE_MASK, names[i], (locale_t)0);
	if (l.mine)
		l.former = uselocale(l.mine);
	return l;
}

void archive_locale_leave(struct archive_locale *l)
{
	if (!l->mine)
		return;
	uselocale(l->former);
	freelocale(l->mine);
	l->mine = (locale_t)0;
}
