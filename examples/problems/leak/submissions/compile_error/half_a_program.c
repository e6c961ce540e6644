int main(void) {
    for (;;) {
