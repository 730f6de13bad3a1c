/* A plugin of qemu-user (QEMU 7.2, as Debian 12 has it): counts the instructions that the emulated program runs, in a
 * file of eight bytes that whoever maps or reads it sees grow. `-plugin instructions.so,counts=<path>` */

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is used of qemu-plugin.h, which Debian has no package of. */
typedef uint64_t plugin_id;
struct tb;
enum { NO_REGISTERS };
size_t qemu_plugin_tb_n_insns(const struct tb *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct tb *, void (*)(unsigned, void *), int, void *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t *count;

static void executed(unsigned cpu, void *instructions)
{
    __atomic_fetch_add(count, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translated(plugin_id id, struct tb *tb)
{
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, (void *)qemu_plugin_tb_n_insns(tb));
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    const char *name = "counts=";
    if (argc != 1 || strncmp(argv[0], name, strlen(name)))
        return 1;
    int file = open(argv[0] + strlen(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof *count))
        return 1;
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (count == MAP_FAILED)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
