/* The bare loop around KVM_RUN: what an exit costs without anybody who handles it. Prints the nanoseconds of one, each round a line.
 *
 *   exits EXITS ROUNDS
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

static const unsigned char code[] = {0xe6, 0x10, 0xeb, 0xfc}; /* again: out 0x10, al; jmp again */

static int checked(int done, const char *what) {
    if (done < 0) {
        perror(what);
        exit(1);
    }
    return done;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    long exits = atol(words[1]), rounds = atol(words[2]);
    int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    int machine = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    size_t size = 2 << 20;
    unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    for (size_t i = 0; i < sizeof code; i++) memory[0x8000 + i] = code[i];
    struct kvm_userspace_memory_region region = {.memory_size = size, .userspace_addr = (unsigned long)memory};
    checked(ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    int vcpu = checked(ioctl(machine, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    int shared = checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, shared, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) return 1;
    struct kvm_sregs special;
    checked(ioctl(vcpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
    special.cs.base = special.cs.selector = 0;
    checked(ioctl(vcpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
    struct kvm_regs registers = {.rip = 0x8000, .rflags = 2};
    checked(ioctl(vcpu, KVM_SET_REGS, &registers), "KVM_SET_REGS");
    for (long round = 0; round < rounds; round++) {
        double begin = now();
        for (long i = 0; i < exits; i++) {
            checked(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
            if (run->exit_reason != KVM_EXIT_IO) return 3;
        }
        printf("%f\n", (now() - begin) / exits);
        fflush(stdout);
    }
    return 0;
}
