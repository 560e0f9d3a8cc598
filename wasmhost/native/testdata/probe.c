/* A plugin in C that answers 7 to everything. */
#include <stdio.h>
#include <string.h>

int main(void) {
	static char line[1 << 17];
	int id = 0;
	puts("{\"hello\":{\"abi\":1,\"type\":\"action\",\"plugin\":\"probe\",\"sdk\":\"test/1\"}}");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		if (strstr(line, "\"init\""))
			puts("{\"ready\":{}}");
		else
			printf("{\"id\":%d,\"answer\":{\"data\":7}}\n", ++id);
		fflush(stdout);
	}
	return 0;
}
