/*
 * server.c - the directory server, as one writes it after a POSIX socket course.
 *
 *   server <ip> <port> <capacity> [settle_ms]
 *
 * It is deliberately naive: one recv() is taken for one message and one send()
 * for one message. Nothing is reassembled, because the whole point is to see
 * whether such a simple program gets along with another implementation.
 */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef BUFFER
#define BUFFER 1024
#endif
#define MAX_CONNECTIONS 512
#define ADDRESS_SIZE 64     /* "[" + longest IPv6 text + "]:65535" is 53 */
#define BETWEEN_LISTS_MS 50
#define CLOSING_MS 2000

struct connection {
    int fd;
    char address[ADDRESS_SIZE];     /* empty until it registers */
};

/* Whoever registers moves to the end, so the registered stand in the order they joined. */
static struct connection connections[MAX_CONNECTIONS];
static int connection_count, member_count;

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

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long number(const char *text, long low, long high)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < low || value > high) {
        fprintf(stderr, "server: %s is not a number from %ld to %ld\n", text, low, high);
        exit(1);
    }
    return value;
}

/* The directory holds nothing but addresses, since every node will dial what it reads there. */
static int is_address(const char *text)
{
    char ip[ADDRESS_SIZE];
    unsigned char binary[sizeof(struct in6_addr)];
    const char *colon = strrchr(text, ':');
    size_t length, digits;

    if (colon == NULL || strlen(text) >= ADDRESS_SIZE)
        return 0;
    digits = strspn(colon + 1, "0123456789");
    if (digits < 1 || digits > 5 || colon[1 + digits] != '\0' ||
        atoi(colon + 1) < 1 || atoi(colon + 1) > 65535)
        return 0;
    length = (size_t)(colon - text);
    memcpy(ip, text, length);
    ip[length] = '\0';
    if (length > 2 && ip[0] == '[' && ip[length - 1] == ']') {
        ip[length - 1] = '\0';
        return inet_pton(AF_INET6, ip + 1, binary) == 1;
    }
    return inet_pton(AF_INET, ip, binary) == 1;
}

/* The order of the others is kept by moving them up, because it is the list's order. */
static void take_out(int index)
{
    connection_count--;
    memmove(&connections[index], &connections[index + 1],
            (size_t)(connection_count - index) * sizeof connections[0]);
}

/*
 * One send() per message. A failure is only reported: if the node has gone,
 * the next recv() on its connection says so and the address is dropped then.
 */
static void send_message(int fd, const char *text)
{
    if (send(fd, text, strlen(text), 0) != (ssize_t)strlen(text))
        perror("server: send");
}

static void send_list(void)
{
    static char list[sizeof "list:" + MAX_CONNECTIONS * (ADDRESS_SIZE + 1)];
    int i;

    /* Each line break goes before an address, so none is left over at the end. */
    strcpy(list, "list:");
    for (i = 0; i < connection_count; i++) {
        if (connections[i].address[0] != '\0') {
            strcat(list, "\n");
            strcat(list, connections[i].address);
        }
    }
    for (i = 0; i < connection_count; i++)
        if (connections[i].address[0] != '\0')
            send_message(connections[i].fd, list);
    printf("sent-list %d\n", member_count);
}

/* Reads once from a connection. Returns 1 if it has registered by this, 0 otherwise. */
static int read_from(int index)
{
    struct connection c = connections[index];
    char buffer[BUFFER + 1];
    ssize_t n = recv(c.fd, buffer, BUFFER, 0);
    int i, usable;

    if (n > 0 && c.address[0] != '\0')
        return 0;       /* A registered node has nothing more to say, so it is ignored. */
    take_out(index);
    if (n <= 0) {
        close(c.fd);
        if (c.address[0] != '\0') {
            member_count--;
            printf("dropped %s\n", c.address);
        }
        return 0;
    }
    buffer[n] = '\0';
    usable = strlen(buffer) == (size_t)n && is_address(buffer);
    /* The same address twice would make a node find itself twice in a list. */
    for (i = 0; i < connection_count; i++)
        if (strcmp(connections[i].address, buffer) == 0)
            usable = 0;
    if (!usable) {
        fprintf(stderr, "server: no address, or one that is taken: %s\n", buffer);
        close(c.fd);
        return 0;
    }
    strcpy(c.address, buffer);
    connections[connection_count++] = c;
    member_count++;
    printf("registered %s\n", c.address);
    return 1;
}

static void tear_down(void)
{
    long deadline = now_ms() + CLOSING_MS, left;
    char ignored[BUFFER];
    int i;

    printf("teardown\n");
    /* Whoever is connected but not registered is told as well, not left to guess. */
    for (i = 0; i < connection_count; i++) {
        send_message(connections[i].fd, "teardown");
        shutdown(connections[i].fd, SHUT_WR);
    }
    /* A close() over unread bytes would reset the connection and could take the
       teardown with it, so the other sides close first, if they do so in time. */
    while (connection_count > 0 && (left = deadline - now_ms()) > 0) {
        struct timeval timeout = { left / 1000, (left % 1000) * 1000 };
        fd_set readable;

        FD_ZERO(&readable);
        for (i = 0; i < connection_count; i++)
            FD_SET(connections[i].fd, &readable);
        if (select(FD_SETSIZE, &readable, NULL, NULL, &timeout) <= 0)
            break;
        for (i = connection_count - 1; i >= 0; i--) {
            int fd = connections[i].fd;
            if (FD_ISSET(fd, &readable) && recv(fd, ignored, sizeof ignored, 0) <= 0) {
                close(fd);
                take_out(i);
            }
        }
    }
    for (i = 0; i < connection_count; i++)
        close(connections[i].fd);
    printf("done\n");
}

static int listen_on(const char *ip, int port)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)port);
    if (inet_pton(AF_INET, ip, &address.sin_addr) != 1) {
        fprintf(stderr, "server: %s is no IPv4 address\n", ip);
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 128) < 0)
        fatal("server: listen");
    /* With port 0 only the kernel knows which port it has become. */
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        fatal("server: getsockname");
    printf("listening %s:%d\n", ip, ntohs(address.sin_port));
    return fd;
}

static void accept_one(int listener)
{
    struct connection c = { accept(listener, NULL, NULL), "" };
    int yes = 1;

    if (c.fd < 0) {
        perror("server: accept");
    } else if (c.fd >= FD_SETSIZE || connection_count == MAX_CONNECTIONS) {
        fprintf(stderr, "server: too many connections\n");
        close(c.fd);
    } else {
        /* Nagle's algorithm could hold a list back and glue the next one to it. */
        setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connections[connection_count++] = c;
    }
}

int main(int argc, char **argv)
{
    int listener, capacity, i;
    long settle_ms, ms;

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, out_of_time);
    alarm(120);
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: server <ip> <port> <capacity> [settle_ms]\n");
        return 1;
    }
    capacity = (int)number(argv[3], 1, MAX_CONNECTIONS);
    settle_ms = argc == 5 ? number(argv[4], 0, 100000) : 300;
    listener = listen_on(argv[1], (int)number(argv[2], 0, 65535));

    while (member_count < capacity) {
        fd_set readable;

        FD_ZERO(&readable);
        FD_SET(listener, &readable);
        for (i = 0; i < connection_count; i++)
            FD_SET(connections[i].fd, &readable);
        if (select(FD_SETSIZE, &readable, NULL, NULL, NULL) < 0)
            fatal("server: select");
        for (i = 0; i < connection_count && member_count < capacity; ) {
            if (!FD_ISSET(connections[i].fd, &readable)) {
                i++;
                continue;
            }
            /* This place may now be taken by the next one, so i stays; and who registers
               moves to the end, but is not to be read a second time there. */
            FD_CLR(connections[i].fd, &readable);
            if (read_from(i)) {
                send_list();
                /* Simple readers need time to recv() this before the next message. */
                ms = member_count < capacity ? BETWEEN_LISTS_MS : settle_ms;
                nanosleep(&(struct timespec){ ms / 1000, (ms % 1000) * 1000000L }, NULL);
            }
        }
        /* Accepting comes last, because a new descriptor may carry the number of
           one closed above and would be mistaken for readable. */
        if (FD_ISSET(listener, &readable) && member_count < capacity)
            accept_one(listener);
    }
    close(listener);
    tear_down();
    return 0;
}
