/*
 * plan.c: a plan that passes plan_check() is carried out without a wild pointer, whatever stands in it and however its
 * calls end. Input: TAPE answers of the kernel, and the plan. With an odd first byte the header is put right first, so
 * that a plan of another length is not refused for that alone.
 */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void carry_out(const struct jk_plan *plan) {
    struct jail j = {.plan = plan, .id_base = 1879048192, .gate = {-1, -1}, .kept = {-1, -1, -1}};
    for (int n = 0; n < JK_SLOTS; n++)
        j.slot[n] = SLOT_UNUSED;
    if (setjmp(left))
        return;
    if (run_steps(&j, JK_PHASE_HOST, 0, plan->host_steps) == 0)
        run_steps(&j, JK_PHASE_JAIL, plan->host_steps, plan->host_steps + plan->jail_steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size <= TAPE)
        return 0;
    size -= TAPE;
    struct jk_plan *plan = malloc(size); /* of this size exactly: one byte beyond it is seen */
    memcpy(plan, data + TAPE, size);
    tape = (struct tape){data + 1, TAPE - 1, 0};
    struct jk_report gift = {.kind = JK_REPORT_READY};
    message = (struct message){(const uint8_t *)&gift, 0, sizeof gift, 0, data[0] / 2 % 4};
    if (data[0] % 2 && size >= sizeof *plan) {
        plan->abi = JK_ABI;
        plan->size = (uint32_t)size;
        ((char *)plan)[size - 1] = 0;
    }
    if (plan_check(plan, size) == 0)
        carry_out(plan);
    close_all();
    free(plan);
    return 0;
}
