/*
 * node.c - a node, as one writes it after a POSIX socket course.
 *
 *   node <ip> <port> <server_ip> <server_port>
 *
 * It is deliberately naive: one recv() is taken for one message and one send()
 * for one message. When two messages arrive glued together it does not take
 * them apart, it says so (bad-message, bad-first-message), for a test to see.
 */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef BUFFER
#define BUFFER 1024
#endif
#define MAX_PEERS 512
#define ADDRESS_SIZE 64     /* "[" + longest IPv6 text + "]:65535" is 53 */

struct peer {
    int fd;
    char address[ADDRESS_SIZE];     /* empty until the hello of an accepted connection */
};

static struct peer peers[MAX_PEERS];
static int peer_count;
static char own_address[ADDRESS_SIZE];

static void fatal(const char *what)
{
    perror(what);
    exit(1);
}

/* A program left over from a failed test should not stay around for ever. */
static void out_of_time(int signal_number)
{
    (void)signal_number;
    _exit(2);
}

/* Prints one line; what came from outside may hold anything, so it is escaped. */
static void say(const char *what, const char *text, size_t length)
{
    size_t i;

    printf("%s ", what);
    for (i = 0; i < length; i++)
        printf(text[i] < 32 || text[i] > 126 ? "\\x%02X" : "%c", (unsigned char)text[i]);
    printf("\n");
}

/*
 * Understands "127.0.0.1:4000" and "[::1]:4000". Returns the length of the socket
 * address, or 0 if the text is no address; it is strict, so that glue is noticed.
 */
static socklen_t parse_address(const char *text, int lowest_port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    char ip[ADDRESS_SIZE];
    const char *colon = strrchr(text, ':');
    size_t length, digits;
    int port;

    if (colon == NULL || strlen(text) >= ADDRESS_SIZE)
        return 0;
    port = atoi(colon + 1);
    digits = strspn(colon + 1, "0123456789");
    if (digits < 1 || digits > 5 || colon[1 + digits] != '\0' ||
        port < lowest_port || port > 65535)
        return 0;
    length = (size_t)(colon - text);
    memcpy(ip, text, length);
    ip[length] = '\0';
    memset(out, 0, sizeof *out);
    if (length > 2 && ip[0] == '[' && ip[length - 1] == ']') {
        ip[length - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((unsigned short)port);
        return inet_pton(AF_INET6, ip + 1, &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons((unsigned short)port);
    return inet_pton(AF_INET, ip, &v4->sin_addr) == 1 ? sizeof *v4 : 0;
}

static void add_peer(int fd, const char *address)
{
    if (fd >= FD_SETSIZE || peer_count == MAX_PEERS) {
        fprintf(stderr, "node: too many connections\n");
        exit(1);
    }
    peers[peer_count].fd = fd;
    strcpy(peers[peer_count++].address, address);
}

static int is_linked(const char *address)
{
    int i;

    for (i = 0; i < peer_count; i++)
        if (strcmp(peers[i].address, address) == 0)
            return 1;
    return 0;
}

/* Returns the descriptor, or -1 after saying why not: the caller knows how bad that is. */
static int connect_to(const char *address)
{
    struct sockaddr_storage to;
    socklen_t length = parse_address(address, 1, &to);
    int fd = length ? socket(to.ss_family, SOCK_STREAM, 0) : -1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, length) < 0) {
        fprintf(stderr, "node: cannot connect to %s\n", address);
        close(fd);
        return -1;
    }
    return fd;
}

/* A peer may have left since the list was written, so failing here is not the node's end. */
static void dial(const char *address)
{
    char hello[sizeof "Hello from:" + ADDRESS_SIZE];
    int fd;

    printf("dial %s\n", address);
    if ((fd = connect_to(address)) < 0)
        return;
    sprintf(hello, "Hello from:%s", own_address);
    if (send(fd, hello, strlen(hello), 0) != (ssize_t)strlen(hello)) {
        perror("node: send hello");
        close(fd);
        return;
    }
    printf("hello-sent %s\n", address);
    add_peer(fd, address);
}

/* Handles one list; a list that is visibly not exactly one list is reported and not used. */
static void take_list(const char *text, size_t length)
{
    static char *lines[BUFFER];
    struct sockaddr_storage unused;
    char copy[BUFFER + 1], *line, *next;
    int count = 0, own = -1, good, i;

    memcpy(copy, text, length + 1);
    good = strlen(copy) == length && strncmp(copy, "list:\n", 6) == 0;
    /* strtok() would skip empty lines, and an empty line is a mistake to report. */
    for (line = copy + 6; good && line != NULL; line = next) {
        if ((next = strchr(line, '\n')) != NULL)
            *next++ = '\0';
        if (strcmp(line, own_address) == 0)
            own = count;
        lines[count++] = line;
        /* This catches a glued "list:" or "teardown" as well, for neither is an address. */
        good = parse_address(line, 1, &unused) != 0;
    }
    if (!good) {
        say("bad-message", text, length);
        return;
    }
    printf("list");
    for (i = 0; i < count; i++)
        printf(" %s", lines[i]);
    printf("\n");
    /* Those before this node dial it, so it dials only those after: one link per pair. */
    for (i = own + 1; own >= 0 && i < count; i++)
        if (!is_linked(lines[i]))
            dial(lines[i]);
}

/* Reads one message from the server. Returns 0 when that was the end. */
static int from_server(int fd)
{
    char buffer[BUFFER + 1];
    ssize_t n = recv(fd, buffer, BUFFER, 0);

    if (n <= 0) {
        printf("end closed\n");
        return 0;
    }
    buffer[n] = '\0';
    if (strncmp(buffer, "list:", 5) != 0) {
        say("end", buffer, (size_t)n);
        return 0;
    }
    if (n == BUFFER)
        fprintf(stderr, "node: the list fills the buffer and may be cut off\n");
    take_list(buffer, (size_t)n);
    return 1;
}

/* Reads once from a peer. Returns 0 when this connection is to be closed. */
static int from_peer(struct peer *peer)
{
    struct sockaddr_storage unused;
    char buffer[BUFFER + 1], what[sizeof "bytes " + ADDRESS_SIZE];
    ssize_t n = recv(peer->fd, buffer, BUFFER, 0);
    int known = peer->address[0] != '\0';

    if (n <= 0) {
        if (known)
            printf("unlink %s\n", peer->address);
        return 0;       /* Without a hello there never was a link to report on. */
    }
    buffer[n] = '\0';
    if (known) {
        sprintf(what, "bytes %s", peer->address);
        say(what, buffer, (size_t)n);
        return 1;
    }
    if ((strncmp(buffer, "Hello from:", 11) == 0 || strncmp(buffer, "Hello from ", 11) == 0) &&
        strlen(buffer) == (size_t)n && parse_address(buffer + 11, 1, &unused) != 0) {
        strcpy(peer->address, buffer + 11);
        printf("hello-received %s\n", peer->address);
        return 1;
    }
    /* Without a name there is nobody to attribute later bytes to, so it is closed. */
    say("bad-first-message", buffer, (size_t)n);
    return 0;
}

/* Turns two arguments into the protocol's way of writing an address. */
static void join_address(char *text, char **argv)
{
    snprintf(text, ADDRESS_SIZE, strchr(argv[0], ':') ? "[%s]:%s" : "%s:%s", argv[0], argv[1]);
}

static int listen_on_own_address(void)
{
    struct sockaddr_storage at;
    socklen_t length = parse_address(own_address, 0, &at);
    int fd = length ? socket(at.ss_family, SOCK_STREAM, 0) : -1, yes = 1;

    if (length == 0)
        errno = EINVAL;     /* so that fatal() has a reason to give */
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, length) < 0 || listen(fd, 128) < 0)
        fatal(own_address);
    /* With port 0 only the kernel knows which port it has become. */
    if (getsockname(fd, (struct sockaddr *)&at, &length) < 0)
        fatal("node: getsockname");
    sprintf(strrchr(own_address, ':'), ":%d",
            ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                           : ((struct sockaddr_in *)&at)->sin_port));
    printf("listening %s\n", own_address);
    return fd;
}

int main(int argc, char **argv)
{
    char server_address[ADDRESS_SIZE];
    int server, listener, fd, i;
    fd_set readable;

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, out_of_time);
    alarm(120);
    if (argc != 5) {
        fprintf(stderr, "usage: node <ip> <port> <server_ip> <server_port>\n");
        return 1;
    }
    join_address(own_address, argv + 1);
    join_address(server_address, argv + 3);
    if ((server = connect_to(server_address)) < 0)
        return 1;
    /* It listens before it registers, because others may dial as soon as they know of it. */
    listener = listen_on_own_address();
    if (send(server, own_address, strlen(own_address), 0) != (ssize_t)strlen(own_address))
        fatal("node: send registration");
    printf("registered\n");

    for (;;) {
        FD_ZERO(&readable);
        FD_SET(server, &readable);
        FD_SET(listener, &readable);
        for (i = 0; i < peer_count; i++)
            FD_SET(peers[i].fd, &readable);
        if (select(FD_SETSIZE, &readable, NULL, NULL, NULL) < 0)
            fatal("node: select");

        /* Peers come first and backwards: removing one moves the last into its place, and
           no descriptor opened below is looked at before the next select(). */
        for (i = peer_count - 1; i >= 0; i--) {
            if (FD_ISSET(peers[i].fd, &readable) && !from_peer(&peers[i])) {
                close(peers[i].fd);
                peers[i] = peers[--peer_count];
            }
        }
        if (FD_ISSET(listener, &readable)) {
            if ((fd = accept(listener, NULL, NULL)) < 0)
                perror("node: accept");
            else
                add_peer(fd, "");
        }
        /* The server comes last, so that what arrived before the teardown is still seen. */
        if (FD_ISSET(server, &readable) && !from_server(server))
            break;
    }
    for (i = 0; i < peer_count; i++)
        close(peers[i].fd);
    close(listener);
    close(server);
    return 0;
}
