/* Makes syncs of some files slow, as a bad sector or a busy neighbour of one volume would. Preloaded into nodes by
 * bench.neighbours. The file that SLOW_SYNC names holds milliseconds and a part of a path; an empty one slows nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fdatasync(int descriptor)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *control = getenv("SLOW_SYNC");
    FILE *file = control ? fopen(control, "r") : NULL;
    unsigned milliseconds;
    char part[2048], link[64], path[2048];
    if (file) {
        if (fscanf(file, "%u %2047s", &milliseconds, part) == 2) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
            ssize_t length = readlink(link, path, sizeof path - 1);
            if (length > 0) {
                path[length] = 0;
                if (strstr(path, part))
                    usleep(milliseconds * 1000);
            }
        }
        fclose(file);
    }
    return real(descriptor);
}
