// SPDX-License-Identifier: BSD-3-Clause
/*
 * page_html.c - HTML itself: escaping, the frame of the page and its style, pictures
 * taken in, tables from lines. Knows nothing of runs.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "text.h"

#define MAX_SVG ((size_t)8 << 20)

static const char style[] =
	":root{color-scheme:light dark;--fg:#1b1b1b;--dim:#5c5c5c;--bg:#fff;"
	"--line:#ddd;--soft:#f5f5f3;--bad:#b00020}\n"
	"@media(prefers-color-scheme:dark){:root{--fg:#e8e6e3;--dim:#a8a49f;"
	"--bg:#18191b;--line:#3a3b3d;--soft:#232427;--bad:#ff8a80}}\n"
	"body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);"
	"background:var(--bg);max-width:72rem;margin:0 auto;"
	"padding:1.5rem 1rem 4rem}\n"
	"h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}\n"
	"h2{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:1rem;"
	"border-top:1px solid var(--line)}\n"
	"h3{font-size:1rem;margin:1.6rem 0 .4rem}\n"
	"p,ul{max-width:46rem}\n.dim{color:var(--dim)}\n"
	".bad{color:var(--bad);font-weight:bold}\n"
	".wide{overflow-x:auto}\n"
	"table{border-collapse:collapse;font-variant-numeric:tabular-nums;"
	"font-size:.9rem}\n"
	"th,td{padding:.25em .7em;text-align:right;white-space:nowrap;"
	"border-bottom:1px solid var(--line)}\n"
	"thead th{border-bottom:2px solid var(--line);color:var(--dim);"
	"font-weight:600}\n"
	"th.group{text-align:center}\n"
	"th.left,td.left{text-align:left}\n"
	"td.long{white-space:normal;min-width:14rem}\n"
	"td.main{font-weight:600}\n"
	".facts th{text-align:left;color:var(--dim);font-weight:400;"
	"vertical-align:top}\n"
	".facts td{text-align:left;white-space:normal;"
	"overflow-wrap:anywhere}\n"
	"pre{background:var(--soft);padding:.7em .9em;border-radius:6px;"
	"font-size:.82rem;white-space:pre-wrap;overflow-wrap:anywhere}\n"
	".pictures{display:grid;gap:1rem;"
	"grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr))}\n"
	"figure{margin:0;max-width:54rem;background:#fff;border:1px solid var(--line);"
	"border-radius:6px;padding:.3rem}\n"
	"figure svg{display:block;width:100%;height:auto}\n"
	"@media print{body{max-width:none;padding:0;font-size:10pt}"
	"figure,tr,pre{break-inside:avoid}h2,h3{break-after:avoid}"
	".wide{overflow:visible}}\n";

void html_text(FILE *f, const char *text)
{
	size_t room = strlen(text) + 1;
	char *clean = malloc(room), *p;

	if (!clean)
		return;
	text_clean(clean, room, text);
	for (p = clean; *p; p++) {
		switch (*p) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		case '\'':
			fputs("&#39;", f);
			break;
		default:
			fputc(*p, f);
		}
	}
	free(clean);
}

void html_cell(FILE *f, const char *name, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(f, *name ? "<td class=\"%s\">" : "<td>", name);
	html_text(f, text);
	fputs("</td>", f);
}

void html_head(FILE *f, const char *title)
{
	fputs("<!DOCTYPE html>\n"
	      "<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n"
	      "<head>\n<meta charset=\"utf-8\"/>\n"
	      "<meta name=\"viewport\" content=\"width=device-width, "
	      "initial-scale=1\"/>\n<title>",
	      f);
	html_text(f, title);
	fprintf(f, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>",
		style);
	html_text(f, title);
	fputs("</h1>\n", f);
}

void html_end(FILE *f)
{
	fputs("</body>\n</html>\n", f);
}

/* Names of a picture are made and used behind these. */
static size_t name_starts(const char *p)
{
	static const char *const marks[] = { " id='", " id=\"", "href='#",
					     "href=\"#", "url(#" };
	size_t i;

	for (i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (!strncmp(p, marks[i], strlen(marks[i])))
			return strlen(marks[i]);
	return 0;
}

bool html_svg(FILE *f, const char *dir, const char *name, int number)
{
	char file[4096], why[256], *svg, *p, *end;
	size_t len, n;

	snprintf(file, sizeof(file), "%s/%s.svg", dir, name);
	svg = text_of_file(file, MAX_SVG, &len, why, sizeof(why));
	p = svg ? strstr(svg, "<svg") : NULL;
	if (!p || !strstr(p, "</svg>")) {
		free(svg);
		return false;
	}
	/* Its own title is the program's name. */
	end = strstr(p, "<title>");
	if (end && strstr(end, "</desc>")) {
		fwrite(p, 1, end - p, f);
		p = strstr(end, "</desc>") + strlen("</desc>");
	}
	while (*p) {
		n = name_starts(p);
		if (n)
			fprintf(f, "%.*sp%d-", (int)n, p, number);
		else
			fputc(*p, f);
		p += n ? n : 1;
	}
	free(svg);
	return true;
}

/* ---- lines of text ----------------------------------------------------------- */

static bool is_rule(const char *line)
{
	return line[strspn(line, "|-: ")] == '\0';
}

static void table_row(FILE *f, char *line, const char *cell)
{
	char *save = NULL, *text, *end;

	fputs("<tr>", f);
	for (text = strtok_r(line, "|", &save); text;
	     text = strtok_r(NULL, "|", &save)) {
		text += strspn(text, " ");
		end = text + strlen(text);
		while (end > text && end[-1] == ' ')
			*--end = '\0';
		if (!*text && !*save)
			break;
		fprintf(f, "<%s>", cell);
		html_text(f, text);
		fprintf(f, "</%s>", cell);
	}
	fputs("</tr>\n", f);
}

enum block { BLOCK_NONE, BLOCK_TABLE, BLOCK_PRE };

static enum block block_end(FILE *f, enum block b)
{
	if (b == BLOCK_TABLE)
		fputs("</table></div>\n", f);
	if (b == BLOCK_PRE)
		fputs("</pre>\n", f);
	return BLOCK_NONE;
}

void html_lines(FILE *f, char *text)
{
	enum block b = BLOCK_NONE, now;
	char *line, *next;

	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		now = *line == '|'		  ? BLOCK_TABLE :
		      line[strspn(line, " \t\r")] ? BLOCK_PRE :
						    BLOCK_NONE;
		if (!strncmp(line, "# ", 2) && b != BLOCK_PRE) {
			b = block_end(f, b);
			fputs("<p class=\"dim\">", f);
			html_text(f, line + 2);
			fputs("</p>\n", f);
			continue;
		}
		if (now != b && (now || b == BLOCK_TABLE)) {
			block_end(f, b);
			if (now == BLOCK_TABLE)
				fputs("<div class=\"wide\"><table>\n", f);
			if (now == BLOCK_PRE)
				fputs("<pre>", f);
			if (now == BLOCK_TABLE)
				table_row(f, line, "th");
			b = now;
			if (now == BLOCK_TABLE)
				continue;
		}
		if (b == BLOCK_TABLE && !is_rule(line)) {
			table_row(f, line, "td");
		} else if (b == BLOCK_PRE) {
			html_text(f, line);
			fputc('\n', f);
		}
	}
	block_end(f, b);
}
