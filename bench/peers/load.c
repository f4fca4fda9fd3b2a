/* One load by librdkafka, with the client's defaults but for what is said here; the figures come out as one line of JSON.
 *
 *     load produce BOOTSTRAP TOPIC SIZE LINGER_MS BATCH_BYTES WARM_S SECONDS RECORDS
 *     load rate    BOOTSTRAP TOPIC SIZE PER_S PARTITIONS WARM_S SECONDS
 *     load consume BOOTSTRAP TOPIC PARTITIONS RECORDS
 *
 * produce: as fast as it goes for so many seconds, or so many records where RECORDS is above 0, after a warm-up that was
 * acknowledged; the time ends when the last is acknowledged. rate: record i is due at i / PER_S after the start, and its
 * latency counts from then, however late it was sent; PARTITIONS 0 leaves the choice to the client, others take turns.
 * The longest gap is the longest time without an acknowledgement of one partition, from the end of the warm-up on.
 * consume: from the first record on.
 * Load.java does the same with the Java client. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rdkafka.h"

#define QUEUE_KBYTES "65536" /* as much as buffer.memory has in Load.java */
#define MOST_PARTITIONS 1024

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[512];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
        fail(name, error);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf, const char *bootstrap)
{
    char error[512];
    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "log_level", "2");
    rd_kafka_t *made = rd_kafka_new(type, conf, error, sizeof error);
    if (!made)
        fail("librdkafka", error);
    return made;
}

static void send_one(rd_kafka_t *kafka, rd_kafka_topic_t *topic, int partition, char *value, size_t size, void *opaque)
{
    while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_BLOCK, value, size, NULL, 0, opaque) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(kafka, 1);
    }
}

/* produce */

static void only_good(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    if (message->err)
        fail("a record was not written", rd_kafka_err2str(message->err));
}

static long flood(rd_kafka_t *kafka, rd_kafka_topic_t *topic, char *value, size_t size, double seconds, long most)
{
    long sent = 0;
    double until = now() + seconds;
    while (most ? sent < most : now() < until)
        for (int i = 0; i < 100 && (!most || sent < most); i++, sent++)
            send_one(kafka, topic, RD_KAFKA_PARTITION_UA, value, size, NULL);
    if (rd_kafka_flush(kafka, 600000))
        fail("flush", "not all records were acknowledged");
    return sent;
}

static void produce(char **argument)
{
    size_t size = atol(argument[2]);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "acks", "all");
    set(conf, "linger.ms", argument[3]);
    set(conf, "batch.size", argument[4]);
    set(conf, "queue.buffering.max.kbytes", QUEUE_KBYTES);
    set(conf, "delivery.report.only.error", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, only_good);
    rd_kafka_t *kafka = client(RD_KAFKA_PRODUCER, conf, argument[0]);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, argument[1], NULL);
    char *value = malloc(size);
    memset(value, 'x', size);
    long warm = flood(kafka, topic, value, size, atof(argument[5]), 0);
    double began = now();
    long sent = flood(kafka, topic, value, size, atof(argument[6]), atol(argument[7]));
    printf("{\"warm\": %ld, \"records\": %ld, \"seconds\": %.6f}\n", warm, sent, now() - began);
}

/* rate */

static double *due, *latency, last[MOST_PARTITIONS], longest_gap;
static double counts_from;
static long failed;
static volatile int over;

static void acknowledged(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    double at = now();
    long number = (long)message->_private;
    if (message->err) {
        failed++;
        latency[number] = -1;
        return;
    }
    latency[number] = at - due[number];
    int partition = message->partition;
    if (due[number] >= counts_from && partition < MOST_PARTITIONS) {
        double since = last[partition] ? last[partition] : counts_from;
        if (at - since > longest_gap)
            longest_gap = at - since;
        last[partition] = at;
    }
}

static void *serve(void *kafka)
{
    while (!over)
        rd_kafka_poll(kafka, 50);
    return NULL;
}

static int ascending(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void rate(char **argument)
{
    size_t size = atol(argument[2]);
    double per_s = atof(argument[3]), warm_s = atof(argument[5]), seconds = atof(argument[6]);
    long partitions = atol(argument[4]), records = (warm_s + seconds) * per_s;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "acks", "all");
    set(conf, "linger.ms", "0");
    rd_kafka_conf_set_dr_msg_cb(conf, acknowledged);
    rd_kafka_t *kafka = client(RD_KAFKA_PRODUCER, conf, argument[0]);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, argument[1], NULL);
    char *value = malloc(size);
    memset(value, 'x', size);
    due = calloc(records, sizeof *due);
    latency = calloc(records, sizeof *latency);
    pthread_t server;
    pthread_create(&server, NULL, serve, kafka);
    double began = now();
    counts_from = began + warm_s;
    for (long number = 0; number < records; number++) {
        due[number] = began + number / per_s;
        double early = due[number] - now();
        if (early > 0) {
            struct timespec pause = {(time_t)early, (long)((early - (time_t)early) * 1e9)};
            nanosleep(&pause, NULL);
        }
        int partition = partitions ? number % partitions : RD_KAFKA_PARTITION_UA;
        if (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_BLOCK | RD_KAFKA_MSG_F_COPY, value, size, NULL, 0,
                             (void *)number) != 0)
            fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
    }
    while (rd_kafka_outq_len(kafka) > 0)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    over = 1;
    pthread_join(server, NULL);
    long count = 0;
    for (long number = warm_s * per_s; number < records; number++)
        if (latency[number] >= 0)
            latency[count++] = latency[number];
    if (!count)
        fail("rate", "no record was acknowledged");
    qsort(latency, count, sizeof *latency, ascending);
    printf("{\"records\": %ld, \"failed\": %ld, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"longest_gap_s\": %.6f}\n", records,
           failed, 1e3 * latency[(count - 1) / 2], 1e3 * latency[(long)((count - 1) * 0.99)], longest_gap);
}

/* consume */

static void consume(char **argument)
{
    enum { AT_ONCE = 10000 };
    static rd_kafka_message_t *messages[AT_ONCE];
    int partitions = atoi(argument[2]);
    long wanted = atol(argument[3]), records = 0, bytes = 0;
    rd_kafka_t *kafka = client(RD_KAFKA_CONSUMER, rd_kafka_conf_new(), argument[0]);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, argument[1], NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
    for (int partition = 0; partition < partitions; partition++)
        if (rd_kafka_consume_start_queue(topic, partition, 0, queue) != 0)
            fail("consume", rd_kafka_err2str(rd_kafka_last_error()));
    double began = 0, heard = now();
    while (records < wanted) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, 100, messages, AT_ONCE);
        if (count > 0)
            heard = now();
        else if (now() - heard > 60)
            fail("consume", "no record came for a minute");
        if (count > 0 && !began)
            began = now();
        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err && messages[i]->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
                fail("consume", rd_kafka_message_errstr(messages[i]));
            if (!messages[i]->err) {
                records++;
                bytes += messages[i]->len;
            }
            rd_kafka_message_destroy(messages[i]);
        }
    }
    printf("{\"records\": %ld, \"bytes\": %ld, \"seconds\": %.6f}\n", records, bytes, now() - began);
}

int main(int count, char **argument)
{
    if (count == 10 && !strcmp(argument[1], "produce"))
        produce(argument + 2);
    else if (count == 9 && !strcmp(argument[1], "rate"))
        rate(argument + 2);
    else if (count == 6 && !strcmp(argument[1], "consume"))
        consume(argument + 2);
    else
        fail("load", "see the head of load.c for what it takes");
    fflush(stdout);
    _Exit(0); /* what closing the client takes is nobody's measure */
}
